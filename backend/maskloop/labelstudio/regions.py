"""From masks to Label Studio's regions.

https://labelstud.io/guide/predictions: coordinates are percent of the image's width and height.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import ArrayLike, NDArray

from maskloop.geometry import boxes, label_studio_rle, polygons
from maskloop.labelstudio.controls import Output, Shape
from maskloop.sam.values import Mask

Region = dict[str, Any]
TOLERANCE = 1.5
"""Pixels by which a polygon may leave the mask's outline, in an image of up to ``FINE_SIDE``; more in larger ones,
where the network sees less detail."""
FINE_SIDE = 1024
SPECK = 16.0
"""Pixels, in an image of up to ``FINE_SIDE``, below which a polygon leaves out a part and closes a hole."""
SLIVER = 0.005
"""Of a mask's pixels, below which no polygon shows a part."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The image that regions are on: pixels, and what the editor wants back.

    page: number of the image where the tag shows several, else None.
    rotation: of the image as shown in the editor, degrees.
    """

    height: int
    width: int
    page: int | None = None
    rotation: float = 0.0

    @property
    def detail(self) -> float:
        """Pixels of this image to one of an image of ``FINE_SIDE``; at least 1."""
        return max(1.0, max(self.height, self.width) / FINE_SIDE)

    def percent(self, points: ArrayLike) -> NDArray[np.float64]:
        """x, y pairs in pixels, (..., 2), in percent."""
        return np.asarray(points, np.float64) / (self.width, self.height) * 100


def regions_of(mask: Mask, outputs: Sequence[Output], canvas: Canvas, tolerance: float | None = None) -> list[Region]:
    """What each output shows of a mask; a polygon control shows each part of it that isn't tiny. None of an
    empty mask.

    tolerance: pixels, for polygon controls that don't say themselves.
    """
    if not mask.pixels.any():
        return []
    return [
        region
        for output in outputs
        for value in _values(mask.pixels, output, canvas, tolerance)
        for region in _results(value, output, canvas, mask.score)
    ]


def _values(
    pixels: NDArray[np.bool_], output: Output, canvas: Canvas, tolerance: float | None
) -> Iterator[dict[str, Any]]:
    match output.control.shape:
        case Shape.BRUSH:
            yield {"format": "rle", "rle": label_studio_rle.encode(pixels)}
        case Shape.RECTANGLE:
            left, top, right, bottom = boxes.of_mask(pixels)
            (x, y), (width, height) = canvas.percent([[left, top], [right - left, bottom - top]]).tolist()
            yield {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
        case Shape.POLYGON:
            speck = SPECK * canvas.detail**2
            chosen = next(
                (t for t in (output.control.tolerance, tolerance) if t is not None), TOLERANCE * canvas.detail
            )
            part = max(speck, SLIVER * np.count_nonzero(pixels))
            for outline in polygons.outlines(pixels, chosen, min_part=part, min_hole=speck):
                yield {"points": canvas.percent(outline).round(4).tolist(), "closed": True}


def _results(value: dict[str, Any], output: Output, canvas: Canvas, score: float) -> Iterator[Region]:
    """The region; of a control without labels of its own, a second result with the same id tells the label."""
    control, naming, label = output.control, output.naming, output.label
    region = {
        "id": uuid4().hex[:10],
        "to_name": control.image,
        "original_width": canvas.width,
        "original_height": canvas.height,
        "image_rotation": canvas.rotation,
        "score": round(min(max(score, 0.0), 1.0), 4),
        **({} if canvas.page is None else {"item_index": canvas.page}),
    }
    named = {control.type: [label.written] if label else []} if control.labels else {}
    yield {**region, "from_name": control.name, "type": control.type, "value": {**value, **named}}
    if naming and label:
        yield {**region, "from_name": naming.name, "type": "labels", "value": {**value, "labels": [label.written]}}
