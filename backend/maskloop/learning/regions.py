"""Label Studio's regions as masks. Formats: https://labelstud.io/guide/export#image-annotation-units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from maskloop.geometry.label_studio_rle import decode
from maskloop.geometry.polygons import fill
from maskloop.images.task_data import VARIABLE, resolve

Region = Mapping[str, Any]
BRUSH, RECTANGLE, POLYGON = (
    frozenset({"brushlabels", "brush"}),
    frozenset({"rectanglelabels", "rectangle"}),
    frozenset({"polygonlabels", "polygon"}),
)
GEOMETRY: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(BRUSH, ("rle",)),
    **dict.fromkeys(RECTANGLE, ("x", "y", "width", "height", "rotation")),
    **dict.fromkeys(POLYGON, ("points",)),
}
"""What the value of a shape of each type holds; that of a label alone doesn't have the first."""
PREDICTED_IOU = "predicted_iou"
"""Key of a predicted region's score as the model gave it, where ``score`` is a chance."""
MAX_PIXELS = 100_000_000
"""Of a region's image: what is larger is no image that was served."""
HEADER_BYTES = 4
"""At the start of an RLE: how many channel values follow, four a pixel."""


class UnusableRegion(ValueError):
    """A region of which no mask can be made; the message says why."""


def shapes(result: Iterable[object]) -> tuple[Region, ...]:
    """The shapes in the result of an annotation or a prediction, each once and with its label.

    Results of one id are one region: its shape, and the label that a ``<Labels>`` gives it, which becomes a part of the
    shape's value here. What else the editor adds, such as the label of the prompt's control, says nothing of it.
    """
    found: dict[str, Region] = {}
    names: dict[str, object] = {}
    for one in result:
        if is_shape(one):
            found.setdefault(one["id"], one)
        elif (
            isinstance(one, Mapping) and one.get("type") == "labels" and isinstance(value := one.get("value"), Mapping)
        ):
            names[str(one.get("id"))] = value.get("labels")
    return tuple(
        {**one, "value": {**one["value"], "labels": names[id]}} if id in names else one for id, one in found.items()
    )


def is_shape(region: object) -> TypeGuard[Region]:
    """Whether it outlines something in an image: not a relation, a choice or a prompt's point."""
    if not isinstance(region, Mapping) or not isinstance(region.get("id"), str):
        return False
    kind, value = region.get("type"), region.get("value")
    return isinstance(kind, str) and kind in GEOMETRY and isinstance(value, Mapping) and GEOMETRY[kind][0] in value


def is_outline(region: object) -> TypeGuard[Region]:
    """Whether it says which pixels are the object's; a rectangle doesn't."""
    return is_shape(region) and region["type"] in BRUSH | POLYGON


def geometry(region: Region) -> Mapping[str, object]:
    """What says which pixels are a shape's, whatever it is called."""
    return {key: region["value"].get(key) for key in GEOMETRY[region["type"]]}


def label(region: Region) -> str | None:
    """The region's first label."""
    value = region.get("value")
    names = value.get(region["type"]) or value.get("labels") if isinstance(value, Mapping) else None
    return str(names[0]) if isinstance(names, Sequence) and names and not isinstance(names, str) else None


def predicted_score(region: Region) -> float | None:
    """What the model thought of a predicted region, before that became a chance."""
    score = region.get(PREDICTED_IOU, region.get("score"))
    return float(score) if isinstance(score, int | float) else None


def mean_score(result: Iterable[Region]) -> float | None:
    """The mean of what the model thought of predicted regions; None if it said nothing of any."""
    scores = [score for region in result if (score := predicted_score(region)) is not None]
    return fmean(scores) if scores else None


def image_of(region: Region, data: Mapping[str, Any], controls: Mapping[str, Any]) -> str:
    """The reference, in the task's data, of the image or page that a region lies on. Raises UnusableRegion."""
    inputs: Sequence[Mapping[str, Any]] = controls.get(region.get("from_name", ""), {}).get("inputs") or ()
    for field in [one.get("value") or one.get("valueList") for one in inputs] or [region.get("to_name")]:
        variable = f"${field}"  # Label Studio tells of its controls without the sign
        found = resolve(variable if VARIABLE.fullmatch(variable) else str(field), data)
        page = region.get("item_index") or 0
        if isinstance(found, list) and isinstance(page, int) and 0 <= page < len(found):
            found = found[page]
        if isinstance(found, str) and found:
            return found
    raise UnusableRegion(f"the task's data doesn't name the image of control {region.get('from_name')!r}")


def size(region: Region) -> tuple[int, int]:
    """(height, width) of the image in which the region was made. Raises UnusableRegion."""
    height, width = region.get("original_height"), region.get("original_width")
    if not isinstance(height, int) or not isinstance(width, int) or min(height, width) < 1:
        raise UnusableRegion(f"the region's image size is {width} x {height}")
    if height * width > MAX_PIXELS:
        raise UnusableRegion(f"the region's image of {width} x {height} is larger than {MAX_PIXELS} pixels")
    return height, width


def check(region: Region) -> None:
    """Raises UnusableRegion if no mask can be made of it, as far as can be seen without decoding one."""
    height, width = size(region)
    value = region.get("value")
    if not isinstance(value, Mapping):
        raise UnusableRegion("the region has no value")
    if region["type"] not in BRUSH:
        outline(region)
        return
    codes = value.get("rle")
    if value.get("format") != "rle" or not isinstance(codes, list) or len(codes) < HEADER_BYTES:
        raise UnusableRegion("the brush mask isn't in Label Studio's RLE format")
    if not all(isinstance(code, int) and 0 <= code < 256 for code in codes):
        raise UnusableRegion("the brush mask's RLE holds something else than bytes")
    channels = int.from_bytes(codes[:HEADER_BYTES], "big")
    if channels != height * width * 4:
        raise UnusableRegion(f"the brush mask has {channels // 4} pixels and its image {width} x {height}")


def mask(region: Region) -> NDArray[np.bool_]:
    """The region's pixels, bool (original_height, original_width). Raises UnusableRegion."""
    check(region)
    height, width = size(region)
    if region["type"] not in BRUSH:
        return fill([outline(region)], height, width)
    try:
        return decode(region["value"]["rle"], height, width)
    except ValueError as error:
        raise UnusableRegion(f"the brush mask's RLE is damaged: {error}") from error


def outline(region: Region) -> NDArray[np.float64]:
    """Corners of a rectangle or polygon, (N, 2), xy in pixels. Raises UnusableRegion.

    A rectangle's rotation is clockwise about its top left corner, in degrees.
    """
    height, width = size(region)
    value = region["value"]
    try:
        if region["type"] in POLYGON:
            corners = np.array(value["points"], np.float64) * (width / 100, height / 100)
        else:
            x, y, w, h = (float(value[key]) for key in ("x", "y", "width", "height"))
            turn = math.radians(float(value.get("rotation") or 0))
            unturned = np.array([(0, 0), (w, 0), (w, h), (0, h)]) * (width / 100, height / 100)
            rotation = np.array([(math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))])
            corners = unturned @ rotation + (x * width / 100, y * height / 100)
    except (KeyError, TypeError, ValueError) as error:
        raise UnusableRegion(f"the {region['type']} is malformed: {error!r}") from error
    if corners.ndim != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise UnusableRegion(f"the {region['type']} has no three corners")
    return corners
