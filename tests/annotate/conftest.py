from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from maskloop.annotate.values import Annotated, Segment, Source
from maskloop.sam.values import ImageSize

MakePhoto = Callable[..., Annotated]


def segment_of(pixels: NDArray[np.bool_], label: str = "object", score: float = 0.9) -> Segment:
    rle = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    x, y, width, height = coco_mask.toBbox(rle)
    return Segment(rle["counts"].decode(), (x, y, width, height), int(coco_mask.area(rle)), score, label)


@pytest.fixture
def make_photo() -> MakePhoto:
    """A photo of 60 x 40 pixels with rectangles x0, y0, x1, y1 on it."""

    def make(name: str = "a.jpg", *rectangles: tuple[int, int, int, int], label: str = "object") -> Annotated:
        segments = []
        for x0, y0, x1, y1 in rectangles:
            pixels = np.zeros((40, 60), bool)
            pixels[y0:y1, x0:x1] = True
            segments.append(segment_of(pixels, label))
        return Annotated(Source(f"/photos/{name}", name), ImageSize(40, 60), tuple(segments), "v1")

    return make
