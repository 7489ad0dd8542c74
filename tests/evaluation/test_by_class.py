"""Precision and recall of named masks, class by class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskloop.evaluation.by_class import ByClass, count
from maskloop.evaluation.coco import GroundTruth, load
from maskloop.evaluation.everything import Everything, Found
from maskloop.evaluation.measure import Sample, evaluate
from maskloop.sam.values import Mask

Write = Callable[..., tuple[Path, Path]]


@pytest.fixture
def targets(write_dataset: Write) -> Sequence[GroundTruth]:
    return load(*write_dataset())[0].objects


def part(target: GroundTruth, rows: int) -> np.ndarray:
    """So many of its rows."""
    mask = target.mask.copy()
    mask[int(target.box[1]) + rows :] = False
    return mask


def test_a_mask_is_right_from_an_iou_of_a_half(targets: Sequence[GroundTruth]) -> None:
    square, _ = targets
    assert count([Mask(part(square, 20), 0.9)], targets) == (1, 0)
    assert count([Mask(part(square, 19), 0.9)], targets) == (0, 1)


def test_an_object_is_found_once_however_many_masks_it_has(targets: Sequence[GroundTruth]) -> None:
    square, wide = targets
    twice = [Mask(square.mask, 0.9), Mask(part(square, 30), 0.8)]
    assert count(twice, targets) == (1, 1)
    assert count([*twice, Mask(wide.mask, 0.1)], targets) == (2, 1)


def test_a_mask_of_what_is_not_measured_is_neither_right_nor_wrong(targets: Sequence[GroundTruth]) -> None:
    square, wide = targets
    assert count([Mask(part(square, 12), 0.9), Mask(wide.mask, 0.8)], [], [square]) == (0, 1)
    assert count([Mask(square.mask, 0.9)], [square], [square]) == (1, 0)


def test_each_class_has_its_precision_and_recall(write_dataset: Write, shapes: Callable[[], Any]) -> None:
    def two_classes(document: dict[str, Any]) -> None:
        document["categories"] = [{"id": 1, "name": "square"}, {"id": 2, "name": "wide"}]
        document["annotations"][1]["category_id"] = 2
        document["annotations"][2]["category_id"] = 3  # a small one
        document["annotations"][3]["category_id"] = 2  # a crowd, everywhere

    dataset = load(*write_dataset(two_classes))
    square, wide = (target.mask for target in dataset[0].objects)
    small = dataset[0].others[0].mask
    found = {"square": [square, wide], "wide": [square], "3": [small], "bird": [wide], None: [square]}
    names = [name for name, masks in found.items() for _ in masks]

    def find(_sample: Sample) -> Found:
        return Found([Mask(pixels, 0.9) for masks in found.values() for pixels in masks], 0.1)

    measure = Everything(find, ByClass(lambda _image, _masks: names, {"square", "wide", "3", "bird", "unseen"}))
    figures = evaluate(shapes(), dataset, [measure])
    assert figures["ar"] == 1.0
    assert {name: value for name, value in figures.items() if "precision" in name or "recall" in name} == {
        "precision": 0.25,
        "recall": 0.5,
        "precision_square": 0.5,
        "recall_square": 1.0,
        "recall_wide": 0.0,
        "precision_bird": 0.0,
    }
