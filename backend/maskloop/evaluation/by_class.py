"""How well named masks find the objects of each class: precision and recall at an IoU of 0.5.

A mask is right if it fits an object of its class that no mask of a better score has. As in COCO, one that shows what is
not measured (a crowd of its class, an object of fewer than 100 pixels) is neither right nor wrong. Masks without a name
don't count, nor do objects of classes that the classifier doesn't know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.measure import Sample
from maskloop.geometry import coco_rle
from maskloop.sam.protocols import Classify
from maskloop.sam.values import Mask

ENOUGH = 0.5


class ByClass:
    """``precision_NAME`` of each class that has masks, ``recall_NAME`` of each that has objects, and, if there are any,
    their means ``precision`` and ``recall``."""

    def __init__(self, classify: Classify, known: Collection[str]) -> None:
        """known: the classes that it may name."""
        self._classify, self._known = classify, known
        self._right: Counter[str] = Counter()
        self._wrong: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()

    def add(self, sample: Sample, masks: Sequence[Mask]) -> None:
        names = self._classify(sample.image, [mask.pixels for mask in masks])
        for name in self._known:
            named = [mask for mask, given in zip(masks, names, strict=True) if given == name]
            objects, others = (
                [one for one in some if one.label == name] for some in (sample.photo.objects, sample.photo.others)
            )
            right, wrong = count(named, objects, others)
            self._right[name] += right
            self._wrong[name] += wrong
            self._objects[name] += len(objects)

    def figures(self) -> dict[str, float]:
        known = sorted(self._known)
        masks = {name: self._right[name] + self._wrong[name] for name in known}
        precision = {name: self._right[name] / masks[name] for name in known if masks[name]}
        recall = {name: self._right[name] / self._objects[name] for name in known if self._objects[name]}
        kinds = {"precision": precision, "recall": recall}
        found = {kind: float(np.mean(list(values.values()))) for kind, values in kinds.items() if values}
        for name in known:
            found |= {f"{kind}_{name}": values[name] for kind, values in kinds.items() if name in values}
        return found


def count(masks: Sequence[Mask], objects: Sequence[GroundTruth], others: Sequence[GroundTruth] = ()) -> tuple[int, int]:
    """How many masks of one class are right, and how many wrong: each object is found once, by the best score first;
    what isn't right and lies in one of the ``others``, half of it at least, isn't wrong."""
    best_first = sorted(masks, key=lambda mask: -mask.score)
    found = [coco_rle.encode(mask.pixels) for mask in best_first]
    ious = coco_rle.ious(found, [target.rle for target in objects])
    inside = coco_rle.shares_inside(found, [other.rle for other in others])
    free, wrong = np.ones(len(objects), bool), 0
    for row, share in zip(ious, inside.max(axis=1, initial=0.0), strict=True):
        left = np.where(free, row, 0.0)
        if left.max(initial=0.0) >= ENOUGH:
            free[left.argmax()] = False
        elif share < ENOUGH:
            wrong += 1
    return int(np.count_nonzero(~free)), wrong
