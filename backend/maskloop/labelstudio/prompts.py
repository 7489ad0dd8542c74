"""From the editor's interactive context to prompts in pixels.

The context is cumulative: it holds every key point or rectangle of one label on one image, the new one last.
Prompts go when their mask is accepted or rejected, but among them are regions that ask for nothing: what was accepted
(it has a score), what was predicted (its origin says so), and what was drawn by hand. All key points together mean one
object, with the last rectangle if there is one too; rectangles alone mean an object each. Coordinates are percent of
the image's width and height, of the image as the editor shows it unrotated; a rectangle turns clockwise around its
corner x, y.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskloop.errors import BadRequest
from maskloop.labelstudio.controls import Control, ImageTag, Label, Shape
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.wire import Context, ContextResult
from maskloop.sam.values import ImageSize, Prompt

SHAPES = re.compile(r"(keypoint|rectangle|brush|bitmask|polygon|ellipse|vector|magicwand)(labels)?")
"""Types of results that are shapes; others, such as choices, may go with a shape of the same id."""
PROMPTING = ("keypoint", "rectangle")
"""What the types of those begin with that may be prompts."""
SLACK = 0.5
"""Percent by which a prompt may lie outside the image: the editor rounds."""


@dataclass(frozen=True, slots=True)
class Point:
    """Percent of the image's width and height."""

    x: float
    y: float
    positive: bool


@dataclass(frozen=True, slots=True)
class Box:
    """Percent of the image's width and height; ``rotation`` in degrees, clockwise around x, y."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0

    def corners(self, size: ImageSize) -> NDArray[np.float64]:
        """x, y of the four corners in pixels, (4, 2)."""
        angle = math.radians(self.rotation)
        across = np.array([math.cos(angle), math.sin(angle)]) * self.width / 100 * size.width
        down = np.array([-math.sin(angle), math.cos(angle)]) * self.height / 100 * size.height
        start = np.array([self.x / 100 * size.width, self.y / 100 * size.height])
        corners: NDArray[np.float64] = start + np.array([0 * across, across, across + down, down])
        return corners


@dataclass(frozen=True, slots=True)
class Click:
    """What an annotator asks for: masks of one or more objects in one image.

    page: number of the image where the tag shows several, else None.
    label: None where the prompt has none to give.
    points, boxes: in the order in which they were placed.
    rotation: of the image as shown in the editor, degrees; only to be handed back.
    picks: whether the points are to be answered from proposals.
    """

    image: ImageTag
    reference: str
    page: int | None
    label: Label | None
    points: tuple[Point, ...] = ()
    boxes: tuple[Box, ...] = ()
    rotation: float = 0.0
    picks: bool = False
    prompts: tuple[ContextResult, ...] = field(default=(), compare=False)
    """What points and boxes were read from, in the order in which they were placed."""

    @property
    def key(self) -> str:
        """The same for all contexts of one object, and for no other: the id of its first prompt."""
        return self.prompts[0].id

    def objects(self, size: ImageSize) -> list[list[Prompt]]:
        """The prompts for each object of an image of this size: one for each prompt placed, the last holding all.

        Raises BadRequest if a rectangle lies outside the image, or all points off the object.
        """
        boxes = [_box(box, size) for box in self.boxes]
        if not self.points:
            return [[Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box)] for box in boxes]
        box = boxes[-1] if boxes else None
        percent = np.array([(point.x, point.y) for point in self.points])
        xy = (np.clip(percent, 0, 100) / 100 * (size.width, size.height)).astype(np.float32)
        labels = np.array([point.positive for point in self.points], np.int8)
        if box is None and not labels.any():
            raise BadRequest("There are only negative points.", "Place a positive point on the object first.")
        first = 1 if box is not None else int(labels.argmax()) + 1
        return [[Prompt(xy[:count], labels[:count], box) for count in range(first, len(xy) + 1)]]


def read_click(config: LabelConfig, context: Context, images: Mapping[str, Sequence[str]]) -> Click | None:
    """What the context asks for; None if all prompts were taken back, whatever else it holds. ``images``: the task's,
    see ``LabelConfig.images_in``.

    The last prompt decides which image and label are meant; those of others are left out. Raises BadRequest if a
    prompt isn't of this configuration, or is no key point or rectangle.
    """
    if not context.result:
        return None
    shapes = [result for result in context.result if SHAPES.fullmatch(result.type)]
    if not shapes:
        raise BadRequest("The request holds no prompt.", "Place a smart key point or a smart rectangle.")
    marked = any(shape.is_positive is not None for shape in shapes)
    others = [
        shape
        for shape in shapes
        if not _prompts(_control(config, shape), shape, new=shape is shapes[-1], marked=marked)
    ]
    prompts = [shape for shape in shapes if not any(shape is one or shape.id == one.id != "" for one in others)]
    if not prompts:
        return None
    last = prompts[-1]
    control = _control(config, last)
    image = config.images[control.image]
    naming = [result for result in context.result if result.type == "labels"] + shapes
    names = {result.id: name for result in naming if (name := _label_name(result))}
    label_name = names.get(last.id, "")
    same = [
        prompt
        for prompt in prompts
        if (_control(config, prompt).image, prompt.item_index, names.get(prompt.id, ""))
        == (image.name, last.item_index, label_name)
    ]
    references = image.of(images)
    if not 0 <= last.item_index < len(references):
        raise BadRequest(f"Image {last.item_index} of {image.name!r} isn't in the task's {len(references)} images.")
    points = [one for one in same if _control(config, one).shape is Shape.KEYPOINT]
    boxes = [one for one in same if _control(config, one).shape is Shape.RECTANGLE]
    return Click(
        image,
        references[last.item_index],
        last.item_index if image.several else None,
        config.label_of_prompt(control, label_name) if label_name else None,
        tuple(_read_point(one) for one in points),
        tuple(_read_box(one) for one in boxes),
        last.image_rotation,
        control.picks and not boxes,
        tuple(same),
    )


def _control(config: LabelConfig, prompt: ContextResult) -> Control:
    control = config.controls.get(prompt.from_name)
    if not (control.shape if control else prompt.type).startswith(PROMPTING):
        raise BadRequest(f"{prompt.from_name!r} can't prompt a mask.", "Use a smart key point or a smart rectangle.")
    if control is None or prompt.to_name != control.image:
        raise BadRequest(
            f"No control {prompt.from_name!r} on an image {prompt.to_name!r} is in the labeling configuration.",
            "Reload the page if the configuration was changed.",
        )
    return control


def _prompts(control: Control, shape: ContextResult, *, new: bool, marked: bool) -> bool:
    """Whether a shape asks for a mask, as far as can be told.

    The editor marks key points that are prompts as positive or negative; of programs that mark none, all are. A
    rectangle doesn't say by which tool it was drawn. The editor has a smart tool for each control that isn't
    ``smart="false"``, so a new one asks whatever its control.
    """
    if control.by_hand or shape.score is not None or shape.origin.startswith("prediction"):
        return False
    if control.shape is Shape.KEYPOINT:
        return shape.is_positive is not None or not marked
    return control.smart or new


def _label_name(result: ContextResult) -> str:
    """The label in a result, under whatever key its type has it."""
    for key in (result.type, "keypointlabels", "rectanglelabels", "labels"):
        found = result.value.get(key)
        if isinstance(found, Sequence) and found and isinstance(found[0], str):
            return found[0]
    return ""


def _read_point(prompt: ContextResult) -> Point:
    x, y = _numbers(prompt.value, "x", "y")
    if not (-SLACK <= x <= 100 + SLACK and -SLACK <= y <= 100 + SLACK):
        raise BadRequest(f"The point at x = {x:g} %, y = {y:g} % lies outside the image.", "Click inside the image.")
    return Point(x, y, prompt.is_positive is not False)


def _read_box(prompt: ContextResult) -> Box:
    x, y, width, height = _numbers(prompt.value, "x", "y", "width", "height")
    (rotation,) = _numbers({"rotation": 0, **prompt.value}, "rotation")
    return Box(x, y, width, height, rotation)


def _numbers(value: Mapping[str, object], *names: str) -> list[float]:
    numbers = []
    for name in names:
        number = value.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise BadRequest(f"A prompt's {name} is {number!r}, which is no number.")
        numbers.append(float(number))
    return numbers


def _box(box: Box, size: ImageSize) -> NDArray[np.float32]:
    """The upright box around a rectangle, within the image: x0, y0, x1, y1."""
    corners = box.corners(size)
    limit = np.array([size.width, size.height])
    low, high = np.clip(corners.min(axis=0), 0, limit), np.clip(corners.max(axis=0), 0, limit)
    if not (high > low).all():
        place = f"The rectangle at x = {box.x:g} %, y = {box.y:g} % of {box.width:g} % x {box.height:g} %"
        outside = (corners.max(axis=0) <= 0).any() or (corners.min(axis=0) >= limit).any()
        raise BadRequest(
            f"{place} {'lies outside the image' if outside else 'has no area'}.", "Draw it around the object."
        )
    return np.asarray([*low, *high], np.float32)
