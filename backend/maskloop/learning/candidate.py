"""From reviewed photos to a registered version, and from there, through the gate, into service."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from maskloop.cache import image_identity
from maskloop.engines.torch_engine import TorchEngine, torch_threads
from maskloop.errors import BadRequest, MaskloopError
from maskloop.evaluation.coco import GroundTruth
from maskloop.learning import gate, simulated
from maskloop.learning.dataset import ReviewedPhoto, views
from maskloop.learning.registry import OFFICIAL, Judgement, ModelVersion, Registry, TrainingData
from maskloop.learning.samples import Sample, Seen, squared
from maskloop.learning.shelf import Shelf
from maskloop.learning.training import Progress, train
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.network import load_model
from maskloop.sam.preprocess import SQUARE
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, Image

log = logging.getLogger(__name__)

MOST_VIEWS = 4096
"""Of all photos together, 2 MiB of disk each, 5 with adapters; with more photos than these there is one of each."""

Encode = Callable[[Image], Embedding]


class Encoder(Protocol):
    """What an ``inference.Segmenter`` offers. identity: equal for encoders that see the same."""

    @property
    def identity(self) -> str: ...

    def embedding_of(self, image: Image) -> Embedding: ...


EncoderOf = Callable[[str], Encoder]
"""That of a version."""


class Prepared(NamedTuple):
    """Photos that could be read, their views, and by name why others couldn't."""

    photos: list[ReviewedPhoto]
    views: list[list[Sample]]
    problems: dict[str, str]


Watch = Callable[[Sequence[ReviewedPhoto]], Iterable[ReviewedPhoto]]
"""Gives the photos one by one, and may tell somebody or raise in between."""


def prepare(
    photos: Sequence[ReviewedPhoto],
    encode: Encode,
    settings: TrainingSettings,
    folder: Path,
    watch: Watch = iter,
    *,
    held_out: Iterable[ReviewedPhoto] = (),
) -> Prepared:
    """Read and encode, by the encoder that training starts from; what fails is recorded and left out.

    folder: on the disk that keeps embeddings meanwhile. held_out: photos that must not be learned from under another
    name either.
    """
    found = Prepared([], [], {})
    features, squares = Shelf(folder, EMBEDDING_SHAPE, np.float16), Shelf(folder, (*SQUARE, 3), np.uint8)
    count = max(1, min(settings.views, MOST_VIEWS // max(1, len(photos))))

    def see(image: Image) -> Seen:
        embedding = encode(image)
        pixels = squares.put(squared(image)) if settings.adapter_rank else None
        return Seen(Embedding(features.put(embedding.features), embedding.size), pixels)

    kept = set(identities(held_out))
    for photo in watch(photos):
        try:
            image = photo.read()
            if image_identity(image) in kept:
                raise BadRequest("The same photo is held out for the gate.")
            prepared = views(photo, image, see, count, settings.seed)
        except MaskloopError as error:
            log.warning("%s is left out: %s", photo.name, error)
            found.problems[photo.name] = str(error)
        else:
            found.photos.append(photo)
            found.views.append(prepared)
    return found


def identities(photos: Iterable[ReviewedPhoto]) -> Iterator[str]:
    """Of those that can be read: nothing is judged by the others either."""
    for photo in photos:
        try:
            yield image_identity(photo.read())
        except MaskloopError as error:
            log.info("%s can't be read: %s", photo.name, error)


def make_candidate(
    registry: Registry,
    name: str,
    prepared: Prepared,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    parent: str = OFFICIAL,
    threads: int = 1,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> ModelVersion:
    """Train version ``name`` from ``parent`` and register it. data: tells of the photos.

    Raises BadRequest if there is nothing to learn from, or if the name is taken, and WeightsError if the parent's file
    is damaged, and what ``train`` raises.
    """
    if not any(sample.targets for sample_views in prepared.views for sample in sample_views):
        raise BadRequest("There is no reviewed mask to learn from.", _hint(prepared))
    registry.check_free(name)
    with torch_threads(threads):
        model = train(
            load_model(registry.weights(parent)),
            load_model(registry.weights(OFFICIAL)),
            prepared.views,
            settings,
            device=device,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )
    version = ModelVersion(name=name, parent=parent, data=data, settings=settings.model_dump())
    added = registry.add(version, model)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return added


def _hint(prepared: Prepared) -> str:
    return f"All photos failed, e.g. {next(iter(prepared.problems.items()))}." if prepared.problems else ""


Judged = Sequence[tuple[Embedding, Sequence[GroundTruth]]]
"""Photos to judge by as a version sees them, and the objects on each."""


def judge(
    registry: Registry,
    name: str,
    held_out: Sequence[ReviewedPhoto],
    general: Sequence[ReviewedPhoto],
    encoder_of: EncoderOf,
    watch: Watch = iter,
    threads: int = 1,
    *,
    project: int | None = None,
) -> Judgement:
    """Compare a version with the one in service, in a project or everywhere, and record what its scores are worth.

    Photos that can't be read are not judged by, and logged. Raises UnknownVersion or WeightsError.
    """
    against = registry.in_service(project)
    encoders = {one: encoder_of(one) for one in {name, against, OFFICIAL}}
    seen = encoded(held_out, encoders, watch)
    if (refusal := gate.too_few(sum(len(objects) for _, objects in seen[name]), len(seen[name]))) is not None:
        return Judgement(passed=False, reason=refusal.reason, against=against)
    others = encoded(general, encoders, watch)
    with torch_threads(threads):
        return _compare(registry, name, against, seen, others)


def encoded(photos: Sequence[ReviewedPhoto], encoders: Mapping[str, Encoder], watch: Watch) -> dict[str, Judged]:
    """The photos as each version sees them; those that see the same share embeddings."""
    different = {encoder.identity: encoder for encoder in encoders.values()}
    found: dict[str, list[tuple[Embedding, Sequence[GroundTruth]]]] = {identity: [] for identity in different}
    for photo in watch(photos):
        try:
            image = photo.read()
            embeddings = {identity: encoder.embedding_of(image) for identity, encoder in different.items()}
        except MaskloopError as error:
            log.warning("%s is not judged by: %s", photo.name, error)
            continue
        for identity, embedding in embeddings.items():
            found[identity].append((embedding, photo.some()))
    return {version: found[encoder.identity] for version, encoder in encoders.items()}


def _compare(
    registry: Registry, name: str, against: str, held_out: Mapping[str, Judged], general: Mapping[str, Judged]
) -> Judgement:
    engines = {one: TorchEngine(load_model(registry.weights(one))) for one in held_out}
    registry.record_chances(name, simulated.of_objects(engines[name], held_out[name]))
    now, official = (gate.agree(engines[one], general[one]) for one in (name, OFFICIAL))
    figures, served = (gate.measure(engines[one], held_out[one]) for one in (name, against))
    decision = gate.decide(figures, served, (now, official) if general[name] else None)
    return Judgement(passed=decision.passed, reason=decision.reason, against=against, metrics=figures.means())
