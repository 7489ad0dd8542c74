"""One pass over the photos of a dataset, any number of measures."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

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


def evaluate(
    engine: EncoderDecoder, photos: Iterable[Photo], measures: Sequence[Measure], references: Sequence[Measure] = ()
) -> dict[str, float]:
    """The figures of all measures, and how many ``photos`` and ``objects`` they are of.

    The names of what the ``references`` measure get ``reference_`` in front.
    """
    count = objects = 0
    for photo in photos:
        image = photo.read()
        start = time.perf_counter()
        (embedding,) = engine.encode([image])
        sample = Sample(photo, image, embedding, time.perf_counter() - start)
        for measure in (*measures, *references):
            measure.add(sample)
        count += 1
        objects += len(photo.objects)
    figures: dict[str, float] = {"photos": count, "objects": objects}
    for measure in measures:
        figures |= measure.figures()
    for measure in references:
        figures |= {REFERENCE + name: value for name, value in measure.figures().items()}
    return figures
