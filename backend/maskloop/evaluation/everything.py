"""How many annotated objects the automatic masks find, how many masks there are, and how long they take.

``ar`` is average recall: the share of objects that some mask covers with at least an IoU, averaged over the IoUs 0.50,
0.55 ... 0.95, the number of masks unlimited. (Over 0.5 a mask fits one of two disjoint objects only, so none
counts twice.) COCO's AR for proposals, https://cocodataset.org/#detection-eval.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskloop.evaluation.by_class import ByClass
from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.measure import Sample
from maskloop.geometry import coco_rle
from maskloop.sam.automatic import AutomaticSettings, propose
from maskloop.sam.protocols import EncoderDecoder
from maskloop.sam.values import Mask

THRESHOLDS = np.linspace(0.5, 0.95, 10)


class Found(NamedTuple):
    """The masks of one photo, and the seconds that they took, encoding included."""

    masks: Sequence[Mask]
    seconds: float


def find_with(network: EncoderDecoder, settings: AutomaticSettings) -> Callable[[Sample], Found]:
    """Our automatic masks, with these settings."""

    def find(sample: Sample) -> Found:
        start = time.perf_counter()
        found = list(propose(network, sample.embedding, settings, sample.image))
        return Found(found, time.perf_counter() - start + sample.encode_seconds)

    return find


class Everything:
    """``ar``, ``masks_per_image`` and ``seconds_per_image``, and what ``by_class`` tells of the masks."""

    def __init__(self, find: Callable[[Sample], Found], by_class: ByClass | None = None) -> None:
        self._find = find
        self._by_class = by_class
        self._best_ious: list[float] = []
        self._counts: list[int] = []
        self._seconds: list[float] = []

    def add(self, sample: Sample) -> None:
        masks, seconds = self._find(sample)
        self._best_ious += best_ious(masks, sample.photo.objects).tolist()
        self._counts.append(len(masks))
        self._seconds.append(seconds)
        if self._by_class is not None:
            self._by_class.add(sample, masks)

    def figures(self) -> dict[str, float]:
        return {
            "ar": average_recall(self._best_ious),
            "masks_per_image": float(np.mean(self._counts)),
            "seconds_per_image": float(np.mean(self._seconds)),
            **(self._by_class.figures() if self._by_class is not None else {}),
        }


def best_ious(masks: Sequence[Mask], objects: Sequence[GroundTruth]) -> NDArray[np.float64]:
    """For each object the IoU of the mask that fits it best, (objects,); 0 without a mask."""
    ious = coco_rle.ious([coco_rle.encode(mask.pixels) for mask in masks], [target.rle for target in objects])
    best: NDArray[np.float64] = ious.max(axis=0, initial=0.0)
    return best


def average_recall(ious: Sequence[float]) -> float:
    """Mean over the ten thresholds of the share of objects whose IoU reaches it."""
    return float((np.asarray(ious)[:, None] >= THRESHOLDS).mean())
