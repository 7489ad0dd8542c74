"""How well one click, and one box, give an annotated object: mean IoU at the photo's own resolution.

The click is the object's deepest interior point and takes three masks; the box is the annotated one and takes the
network's single mask. The official code's figures for its weights on 100 photos of COCO val2017, 634 objects, are
0.532 (``click_best_score``), 0.690 (``click_oracle``) and 0.748 (``box``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.measure import Sample
from maskloop.geometry import masks
from maskloop.sam.masks import upscale
from maskloop.sam.protocols import Decoder
from maskloop.sam.values import Prompt


class Candidates(NamedTuple):
    """Masks bool (M, height, width) of a photo, for one prompt, with predicted scores (M,)."""

    pixels: NDArray[np.bool_]
    scores: NDArray[np.float32]


Segment = Callable[[Sample, Sequence[Prompt], bool], Iterator[Candidates]]
"""Candidates for each prompt on a photo, three if the last argument is true, else one."""


def segment_with(decoder: Decoder) -> Segment:
    def segment(sample: Sample, prompts: Sequence[Prompt], multimask: bool) -> Iterator[Candidates]:
        for answer in decoder.decode(sample.embedding, prompts, multimask=multimask):
            yield Candidates(np.stack([upscale(logits, answer.size) for logits in answer.logits]), answer.scores)

    return segment


def click(target: GroundTruth) -> Prompt:
    """A click on the deepest interior point."""
    return Prompt(np.array([masks.deepest_point(target.mask)], np.float32), np.ones(1, np.int8))


def box(target: GroundTruth) -> Prompt:
    """The annotated box."""
    return Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box=target.box)


class OneClick:
    """``click_best_score``: the mask of the best predicted score; ``click_oracle``: the best of the three."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._best_score: list[float] = []
        self._oracle: list[float] = []

    def add(self, sample: Sample) -> None:
        prompts = [click(target) for target in sample.photo.objects]
        for target, found in zip(sample.photo.objects, self._segment(sample, prompts, True), strict=True):
            truth = target.mask
            ious = [masks.iou(candidate, truth) for candidate in found.pixels]
            self._best_score.append(ious[int(found.scores.argmax())])
            self._oracle.append(max(ious))

    def figures(self) -> dict[str, float]:
        return {"click_best_score": float(np.mean(self._best_score)), "click_oracle": float(np.mean(self._oracle))}


class OneBox:
    """``box``: the single mask for the annotated box."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._ious: list[float] = []

    def add(self, sample: Sample) -> None:
        prompts = [box(target) for target in sample.photo.objects]
        for target, found in zip(sample.photo.objects, self._segment(sample, prompts, False), strict=True):
            self._ious.append(masks.iou(found.pixels[0], target.mask))

    def figures(self) -> dict[str, float]:
        return {"box": float(np.mean(self._ious))}
