"""One pass over the photos of a dataset, any number of measures."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from maskloop.errors import ImageUnavailable, MaskloopError
from maskloop.evaluation.coco import Photo
from maskloop.sam.protocols import EncoderDecoder
from maskloop.sam.values import Embedding, Image


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A photo that is read and encoded; ``encode_seconds`` is what the encoding took."""

    photo: Photo
    image: Image
    embedding: Embedding
    encode_seconds: float


class Measure(Protocol):
    """Sees all samples of a dataset, then tells its figures."""

    def add(self, sample: Sample) -> None: ...

    def figures(self) -> dict[str, float]:
        """By the names under which they are reported; means are over all objects seen."""
        ...


REFERENCE = "reference_"

log = logging.getLogger(__name__)


def evaluate(
    engine: EncoderDecoder, photos: Iterable[Photo], measures: Sequence[Measure], references: Sequence[Measure] = ()
) -> dict[str, float]:
    """The figures of all measures, how many ``photos`` and ``objects`` they are of, and how many photos are
    ``left_out``, and logged, because they can't be read.

    The names of what the ``references`` measure get ``reference_`` in front.

    Raises ImageUnavailable if no photo with objects is left.
    """
    count = objects = left_out = 0
    for photo in photos:
        try:
            image = photo.read()
        except MaskloopError as error:
            log.warning("%s is left out: %s", photo.path.name, error)
            left_out += 1
            continue
        start = time.perf_counter()
        (embedding,) = engine.encode([image])
        sample = Sample(photo, image, embedding, time.perf_counter() - start)
        for measure in (*measures, *references):
            measure.add(sample)
        count += 1
        objects += len(photo.objects)
    if not objects:
        raise ImageUnavailable(f"No photo with objects is left: {left_out} can't be read.")
    figures: dict[str, float] = {"photos": count, "objects": objects, "left_out": left_out}
    for measure in measures:
        figures |= measure.figures()
    for measure in references:
        figures |= {REFERENCE + name: value for name, value in measure.figures().items()}
    return figures
