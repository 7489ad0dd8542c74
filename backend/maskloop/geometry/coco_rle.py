"""COCO's run lengths of a mask, column by column: pycocotools' code, with rows first as everywhere else.

https://github.com/cocodataset/cocoapi, common/maskApi.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

CocoRle = dict[str, Any]
"""``size``: [height, width]; ``counts``: compressed run lengths, bytes or ASCII."""


def encode(mask: NDArray[np.bool_]) -> CocoRle:
    """Of a mask (height, width)."""
    rle: CocoRle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return rle


def decode(rle: CocoRle) -> NDArray[np.bool_]:
    """The mask (height, width)."""
    mask: NDArray[np.bool_] = coco_mask.decode(rle).view(bool)
    return mask


def area(rle: CocoRle) -> int:
    """Pixels of the mask."""
    return int(coco_mask.area(rle))


def box(rle: CocoRle) -> tuple[float, float, float, float]:
    """Left, top, width and height of the mask, pixels."""
    left, top, width, height = coco_mask.toBbox(rle).tolist()
    return left, top, width, height


def ious(found: Sequence[CocoRle], objects: Sequence[CocoRle]) -> NDArray[np.float64]:
    """Of each mask with each object, (masks, objects)."""
    return _overlaps(found, objects, crowds=False)


def shares_inside(found: Sequence[CocoRle], regions: Sequence[CocoRle]) -> NDArray[np.float64]:
    """Of each mask's pixels, in each region, (masks, regions)."""
    return _overlaps(found, regions, crowds=True)


def _overlaps(found: Sequence[CocoRle], others: Sequence[CocoRle], *, crowds: bool) -> NDArray[np.float64]:
    if not found or not others:
        return np.zeros((len(found), len(others)))
    return np.asarray(coco_mask.iou(list(found), list(others), [int(crowds)] * len(others)))
