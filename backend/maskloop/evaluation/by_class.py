"""How well named masks find the objects of each class: precision and recall at an IoU of 0.5.

A mask is right if it fits an object of its class that no mask of a better score has; masks without a name don't count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.measure import Sample
from maskloop.geometry import coco_rle
from maskloop.sam.protocols import Classify
from maskloop.sam.values import Mask

ENOUGH = 0.5


class ByClass:
    """``precision_NAME`` and ``recall_NAME`` of each class that has objects or masks, and their means ``precision`` and
    ``recall``; a class without masks has no precision, one without objects no recall."""

    def __init__(self, classify: Classify) -> None:
        self._classify = classify
        self._right: Counter[str] = Counter()
        self._named: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()

    def add(self, sample: Sample, masks: Sequence[Mask]) -> None:
        names = self._classify(sample.image, [mask.pixels for mask in masks])
        by_name: dict[str, list[Mask]] = {}
        for mask, name in zip(masks, names, strict=True):
            if name is not None:
                by_name.setdefault(name, []).append(mask)
        objects: dict[str, list[GroundTruth]] = {}
        for target in sample.photo.objects:
            objects.setdefault(target.label, []).append(target)
        self._named.update({name: len(found) for name, found in by_name.items()})
        self._objects.update({name: len(targets) for name, targets in objects.items()})
        for name in by_name.keys() & objects.keys():
            self._right[name] += count_right(by_name[name], objects[name])

    def figures(self) -> dict[str, float]:
        precision = {name: self._right[name] / count for name, count in sorted(self._named.items())}
        recall = {name: self._right[name] / count for name, count in sorted(self._objects.items())}
        found = {"precision": _mean(precision), "recall": _mean(recall)}
        for name in sorted(precision.keys() | recall.keys()):
            found |= {
                f"{kind}_{name}": values[name]
                for kind, values in (("precision", precision), ("recall", recall))
                if name in values
            }
        return found


def count_right(masks: Sequence[Mask], objects: Sequence[GroundTruth]) -> int:
    """How many masks of one class fit an object of it, each object once, the best score first."""
    best_first = sorted(masks, key=lambda mask: -mask.score)
    ious = coco_rle.ious((mask.pixels for mask in best_first), [target.rle for target in objects])
    free = np.ones(len(objects), bool)
    for row in ious:
        fit = int(np.where(free, row, -1).argmax())
        if free[fit] and row[fit] >= ENOUGH:
            free[fit] = False
    return int(np.count_nonzero(~free))


def _mean(values: Mapping[str, float]) -> float:
    return float(np.mean(list(values.values()))) if values else 0.0
