"""A version judged, by photos that none ever learned from, against the one in service."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from maskloop.cache import image_identity, joint_identity
from maskloop.engines.torch_engine import TorchEngine, torch_threads
from maskloop.errors import ImageUnavailable, MaskloopError
from maskloop.evaluation.coco import GroundTruth
from maskloop.learning import gate, simulated
from maskloop.learning.candidate import Encoder, EncoderOf, Watch
from maskloop.learning.dataset import ReviewedPhoto, fingerprint
from maskloop.learning.registry import OFFICIAL, Judgement, Registry
from maskloop.sam.network import load_model
from maskloop.sam.values import Embedding

log = logging.getLogger(__name__)


class HeldOut(NamedTuple):
    """What versions are judged by.

    photos: those that can be read, by the identity of their pixels. One that several tasks show is there once, with all
    their objects. problems: by name, why others can't be read.
    """

    photos: dict[str, ReviewedPhoto]
    problems: dict[str, MaskloopError]

    def judged_on(self, against: str) -> str:
        """See ``Judgement``."""
        return joint_identity(fingerprint(self.photos.values()), against)


def read_held_out(photos: Iterable[ReviewedPhoto]) -> HeldOut:
    found = HeldOut({}, {})
    for photo in photos:
        try:
            identity = image_identity(photo.read())
        except MaskloopError as error:
            log.warning("%s is not judged by: %s", photo.name, error)
            found.problems[photo.name] = error
            continue
        known = found.photos.get(identity)
        found.photos[identity] = replace(known, objects=known.objects + photo.objects) if known else photo
    return found


def judge(
    registry: Registry,
    name: str,
    held_out: HeldOut,
    general: Sequence[ReviewedPhoto],
    encoder_of: EncoderOf,
    watch: Watch = iter,
    threads: int = 1,
    *,
    project: int | None = None,
) -> Judgement:
    """Compare a version with the one in service, in a project or everywhere, and record what its scores are worth.

    Raises UnknownVersion or WeightsError, ImageUnavailable if too few photos are held out without those that can't be
    had now, and what ``ReviewedPhoto.read`` raises.
    """
    against, photos = registry.in_service(project), list(held_out.photos.values())
    judgement = partial(Judgement, against=against, judged_on=held_out.judged_on(against))
    if (refusal := gate.too_few(sum(len(photo.some()) for photo in photos), len(photos))) is not None:
        for place, problem in held_out.problems.items():
            if isinstance(problem, ImageUnavailable):
                raise ImageUnavailable(
                    f"Version {name} can't be judged: {refusal.reason} Of {place}: {problem}",
                    "Train again when the image can be had: what was learned is kept.",
                )
        return judgement(passed=False, reason=refusal.reason)
    encoders = {one: encoder_of(one) for one in {name, against, OFFICIAL}}
    seen, others = (encoded(some, encoders, watch) for some in (photos, general))
    with torch_threads(threads):
        engines = {one: TorchEngine(load_model(registry.weights(one))) for one in encoders}
        registry.record_chances(name, simulated.of_objects(engines[name], seen[name]))
        now, official = (gate.agree(engines[one], others[one]) for one in (name, OFFICIAL))
        figures, served = (gate.measure(engines[one], seen[one]) for one in (name, against))
    decision = gate.decide(figures, served, (now, official) if general else None)
    return judgement(passed=decision.passed, reason=decision.reason, metrics=figures.means())


Judged = Sequence[tuple[Embedding, Sequence[GroundTruth]]]
"""Photos to judge by as a version sees them, and the objects on each."""


def encoded(photos: Sequence[ReviewedPhoto], encoders: Mapping[str, Encoder], watch: Watch = iter) -> dict[str, Judged]:
    """The photos as each version sees them; those that see the same share embeddings."""
    different = {encoder.identity: encoder for encoder in encoders.values()}
    found: dict[str, list[tuple[Embedding, Sequence[GroundTruth]]]] = {identity: [] for identity in different}
    for photo in watch(photos):
        image = photo.read()
        for identity, encoder in different.items():
            found[identity].append((encoder.embedding_of(image), photo.some()))
    return {version: found[encoder.identity] for version, encoder in encoders.items()}
