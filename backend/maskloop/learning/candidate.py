"""From reviewed photos to a registered version, and from there, through the gate, into service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from maskloop.engines.torch_engine import TorchEngine
from maskloop.errors import BadRequest, MaskloopError
from maskloop.evaluation.coco import GroundTruth
from maskloop.learning import gate, simulated
from maskloop.learning.dataset import ReviewedPhoto, describe, views
from maskloop.learning.registry import OFFICIAL, Judgement, ModelVersion, Registry
from maskloop.learning.samples import Sample
from maskloop.learning.shelf import Shelf
from maskloop.learning.training import Progress, TrainingSettings, train
from maskloop.sam.network import load_model
from maskloop.sam.values import Embedding, Image

log = logging.getLogger(__name__)

MOST_VIEWS = 4096
"""Of all photos together, 2 MiB of disk each; with more photos than these there is one of each."""

Encode = Callable[[Image], Embedding]


class Prepared(NamedTuple):
    """Photos that could be read, their views, and by name why others couldn't."""

    photos: list[ReviewedPhoto]
    views: list[list[Sample]]
    problems: dict[str, str]


Watch = Callable[[Sequence[ReviewedPhoto]], Iterable[ReviewedPhoto]]
"""Gives the photos one by one, and may tell somebody or raise in between."""


def prepare(
    photos: Sequence[ReviewedPhoto], encode: Encode, settings: TrainingSettings, folder: Path, watch: Watch = iter
) -> Prepared:
    """Read and encode; what fails is recorded and left out. folder: on the disk that keeps embeddings meanwhile."""
    found, shelf = Prepared([], [], {}), Shelf(folder)
    count = max(1, min(settings.views, MOST_VIEWS // max(1, len(photos))))

    def kept(image: Image) -> Embedding:
        return shelf.put(encode(image))

    for photo in watch(photos):
        try:
            prepared = views(photo, kept, count, settings.seed)
        except MaskloopError as error:
            log.warning("%s is left out: %s", photo.name, error)
            found.problems[photo.name] = str(error)
        else:
            found.photos.append(photo)
            found.views.append(prepared)
    return found


def make_candidate(
    registry: Registry,
    name: str,
    prepared: Prepared,
    source: str,
    settings: TrainingSettings,
    *,
    parent: str = OFFICIAL,
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> ModelVersion:
    """Train version ``name`` from ``parent`` and register it. Raises BadRequest if there is nothing to learn from, or
    if the name is taken, and WeightsError if the parent's file is damaged."""
    if not any(sample.targets for sample_views in prepared.views for sample in sample_views):
        raise BadRequest("There is no reviewed mask to learn from.", _hint(prepared))
    registry.check_free(name)
    model = train(
        load_model(registry.weights(parent)),
        load_model(registry.weights(OFFICIAL)),
        prepared.views,
        settings,
        on_progress=on_progress,
        checkpoint=checkpoint,
    )
    version = ModelVersion(
        name=name, parent=parent, data=describe(source, prepared.photos), settings=settings.model_dump()
    )
    added = registry.add(version, model)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return added


def _hint(prepared: Prepared) -> str:
    return f"All photos failed, e.g. {next(iter(prepared.problems.items()))}." if prepared.problems else ""


Judged = Sequence[tuple[Embedding, Sequence[GroundTruth]]]
"""Photos to judge by, and the objects on each."""


def judge(registry: Registry, name: str, held_out: Judged, general: Judged = ()) -> Judgement:
    """Compare a version with the one in service, and keep what was found, also of what its scores are worth.

    Raises UnknownVersion or WeightsError.
    """
    against = registry.in_service()
    if (refusal := gate.too_few(sum(len(objects) for _, objects in held_out))) is not None:
        judgement = Judgement(passed=False, reason=refusal.reason, against=against)
    else:
        judgement = _compare(registry, name, against, held_out, general)
    registry.record_judgement(name, judgement)
    return judgement


def _compare(registry: Registry, name: str, against: str, held_out: Judged, general: Judged) -> Judgement:
    engines = {one: TorchEngine(load_model(registry.weights(one))) for one in {name, against, OFFICIAL}}
    candidate, served = engines[name], engines[against]
    registry.record_chances(name, simulated.of_objects(candidate, held_out))
    kept = (gate.agree(candidate, general), gate.agree(engines[OFFICIAL], general)) if general else None
    figures = gate.measure(candidate, held_out)
    decision = gate.decide(figures, gate.measure(served, held_out), kept)
    return Judgement(passed=decision.passed, reason=decision.reason, against=against, metrics=figures.means())
