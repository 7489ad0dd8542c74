"""The tags of a labeling configuration that maskloop deals with: images, controls, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from maskloop.errors import BadRequest
from maskloop.images.task_data import resolve, well_formed

Purpose = Literal["click", "batch"]


class Shape(StrEnum):
    BRUSH = "brush"
    RECTANGLE = "rectangle"
    POLYGON = "polygon"
    KEYPOINT = "keypoint"


@dataclass(frozen=True, slots=True)
class Label:
    """Label Studio writes the alias, if there is one, and reads either."""

    value: str
    alias: str = ""

    @property
    def written(self) -> str:
        return self.alias or self.value

    def is_called(self, name: str) -> bool:
        return name in (self.value, self.alias) and name != ""

    def is_same(self, other: Label) -> bool:
        return self.is_called(other.value) or self.is_called(other.alias)


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one tag. ``from_data``: they stand in each task's data, so any may occur."""

    all: tuple[Label, ...]
    from_data: bool = False

    @property
    def only(self) -> Label | None:
        """The one label, if there is no other."""
        return self.all[0] if len(self.all) == 1 and not self.from_data else None

    def find(self, wanted: Label) -> Label | None:
        found = next((label for label in self.all if label.is_same(wanted)), None)
        return found or (wanted if self.from_data else None)

    def called(self, name: str) -> Label | None:
        return self.find(Label(name))


@dataclass(frozen=True, slots=True)
class ImageTag:
    """``value`` names the image in a task's data (``$image``, ``$photos.front``, ``$pages[0]``); with ``several`` it
    names a list of images, shown as pages."""

    name: str
    value: str
    several: bool = False

    def found_in(self, data: Mapping[str, Any]) -> list[str]:
        """The image, or images, as they stand in the task's data; none if they don't."""
        found = resolve(self.value, data)
        texts = found if self.several and isinstance(found, list) else [found]
        if not all(isinstance(text, str) and text for text in texts):
            return []
        return [well_formed(text) for text in texts]  # the official server leaves half characters in what it parses

    def of(self, images: Mapping[str, Sequence[str]]) -> Sequence[str]:
        """This tag's among a task's images, see ``LabelConfig.images_in``. Raises BadRequest if there is none."""
        if not (found := images.get(self.name)):
            raise BadRequest(f"The task's data has no image for <Image name={self.name!r} value={self.value!r}>.")
        return found


@dataclass(frozen=True, slots=True)
class Control:
    """A tag that draws shapes on an image. ``labels`` is None for those without their own, such as ``<Brush>``.

    smart: whether it says that it has a smart tool; by_hand: that it has none. The editor has one if it says neither.
    picks: whether its points are answered from proposals.
    """

    name: str
    image: str
    shape: Shape
    labels: Labels | None
    smart: bool
    output: str = "all"
    default_label: str = ""
    tolerance: float | None = None
    picks: bool = False
    by_hand: bool = False

    @property
    def type(self) -> str:
        """The type of the regions, and the key of their labels."""
        return f"{self.shape}labels" if self.labels else str(self.shape)

    def serves(self, purpose: Purpose) -> bool:
        return self.output in ("all", purpose)


@dataclass(frozen=True, slots=True)
class LabelControl:
    """``<Labels>``: names the regions of controls that have no labels of their own."""

    name: str
    image: str
    labels: Labels
    default_label: str = ""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a mask goes: a control, and the label there; with ``naming``, the label is told in a second result."""

    control: Control
    label: Label | None
    naming: LabelControl | None = None
