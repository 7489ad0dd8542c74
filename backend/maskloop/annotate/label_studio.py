"""Tasks with predictions, to import into a Label Studio project: https://labelstud.io/guide/predictions

The project's labeling configuration decides what a segment becomes, as it does for the backend's own predictions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from maskloop.annotate.sources import is_url
from maskloop.annotate.values import Annotated, AnnotateError, Segment, Source
from maskloop.errors import BadLabelConfig
from maskloop.labelstudio.controls import ImageTag, Label, Output
from maskloop.labelstudio.handlers import prediction
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.regions import Canvas, Region, regions_of
from maskloop.sam.values import Mask

LOCAL_FILES = "/data/local-files/?d="
PLAIN_NAME = re.compile(r"\$?(\w+)")


@dataclass(frozen=True)
class Addresses:
    """How Label Studio reaches a photo.

    local_files_root: its LOCAL_FILES_DOCUMENT_ROOT, for photos below it.
    prefix: put before a photo's name, in place of everything else. Escaped in http(s) addresses; the keys of
        cloud storage take it as it is.
    """

    local_files_root: Path | None = None
    prefix: str | None = None

    def of(self, photo: Source) -> str:
        """Raises :class:`AnnotateError` if Label Studio can't reach it."""
        if self.prefix is not None:
            escaped = self.prefix.startswith(("http://", "https://", "/"))
            return self.prefix + (quote(photo.name, errors="surrogateescape") if escaped else photo.name)
        if is_url(photo.reference):
            return photo.reference
        if self.local_files_root is None:
            raise AnnotateError(
                "Label Studio can't see the files of this machine.",
                "Say with --local-files-root which folder it serves, or with --image-url where else the photos are.",
            )
        try:
            inside = Path(photo.reference).relative_to(self.local_files_root.absolute())
        except ValueError as error:
            raise AnnotateError(
                f"{photo.reference} is not below {self.local_files_root}, the folder that Label Studio serves."
            ) from error
        return LOCAL_FILES + quote(inside.as_posix(), errors="surrogateescape")


@dataclass(frozen=True)
class Target:
    """The image of a labeling configuration that predictions are for, and the controls that can hold them."""

    xml: str
    config: LabelConfig
    image: ImageTag
    key: str
    """Of the image in a task's data."""

    @classmethod
    def of(cls, xml: str) -> Self:
        """Raises BadLabelConfig, and AnnotateError if it is for more than one image."""
        config = LabelConfig.parse(xml)
        if len(config.images) > 1:
            raise AnnotateError(
                f"The labeling configuration shows {len(config.images)} images; photos make tasks of one."
            )
        (image,) = config.images.values()
        name = PLAIN_NAME.fullmatch(image.value)
        if name is None:
            raise AnnotateError(f'<Image value="{image.value}"> is more than a name: tasks can\'t be made for it.')
        return cls(xml, config, image, name[1])

    def label(self) -> str:
        """What automatic masks are called: the one label that there is, else nothing, for the annotator to choose."""
        labels = {output.label.written for output in self._automatic() if output.label}
        return labels.pop() if len(labels) == 1 else ""

    def check(self, classes: Iterable[str]) -> None:
        """Raises AnnotateError for the first class that no control can hold."""
        for label in classes:
            self._outputs(label)

    def task(self, photo: Annotated, address: str, tolerance: float | None) -> dict[str, Any]:
        """One task; without a prediction if there is no segment."""
        found = [region for segment in photo.segments for region in self._regions(photo, segment, tolerance)]
        return {
            "data": {self.key: [address] if self.image.several else address},
            "predictions": [prediction(found, photo.version)] if found else [],
        }

    def _regions(self, photo: Annotated, segment: Segment, tolerance: float | None) -> list[Region]:
        canvas = Canvas(*photo.size, page=0 if self.image.several else None)
        mask = Mask(segment.pixels(photo.size), segment.score)
        return regions_of(mask, self._outputs(segment.label), canvas, tolerance)

    def _outputs(self, label: str) -> Sequence[Output]:
        if not label:
            outputs = self._automatic()
            if not outputs:
                raise AnnotateError("No control of the labeling configuration takes automatic masks.")
            return outputs
        try:
            return self.config.outputs(self.image.name, Label(label), purpose="batch")
        except BadLabelConfig as error:
            raise AnnotateError(f"The labeling configuration has no place for {label!r}: {error.message}") from error

    def _automatic(self) -> Sequence[Output]:
        return self.config.automatic_outputs(self.image.name)


def document(
    photos: Iterable[Annotated], target: Target, addresses: Addresses, tolerance: float | None = None
) -> Iterator[str]:
    """The JSON of all tasks, in pieces. tolerance: of polygons, pixels; None: what suits the photo."""
    yield "["
    for number, photo in enumerate(photos):
        yield ",\n" if number else "\n"
        yield json.dumps(target.task(photo, addresses.of(photo.source), tolerance))
    yield "]\n"


def config_for(classes: Sequence[str]) -> str:
    """A labeling configuration for these labels: brush masks, and points and rectangles to prompt more."""
    view = Element("View")
    SubElement(view, "Image", name="image", value="$image", zoom="true")
    smart = {"smart": "true"}
    for tag, name, more in (
        ("BrushLabels", "brush", {"smart": "false"}),
        ("KeyPointLabels", "point", smart),
        ("RectangleLabels", "box", smart),
    ):
        control = SubElement(view, tag, {"name": name, "toName": "image", **more})
        for label in classes:
            SubElement(control, "Label", value=label)
    indent(view)
    return tostring(view, encoding="unicode") + "\n"
