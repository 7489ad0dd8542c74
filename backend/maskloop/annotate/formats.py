"""The files of each format. Photos are iterated as often as it takes, one in memory at a time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from maskloop.annotate import coco, label_studio, yolo
from maskloop.annotate.output import LocalOutput, Output, open_output
from maskloop.annotate.sources import is_url, read
from maskloop.annotate.values import Annotated

Photos = Literal["auto", "link", "copy", "none"]
"""How a YOLO folder gets its photos; ``auto`` links where both are on this machine, and copies elsewhere."""


DATA_YAML = "data.yaml"


class Format(Protocol):
    @property
    def names(self) -> Sequence[str]:
        """The files and folders that it writes in the output's folder."""
        ...

    def write(self, output: Output, photos: Iterable[Annotated]) -> None:
        """Raises AnnotateError where ``output`` can't be written."""
        ...


@dataclass(frozen=True, slots=True)
class Coco:
    """One JSON file. classes: in the order of their ids. ids: see ``coco.Ids``. tolerance: of polygons, pixels."""

    classes: Sequence[str]
    file: str = "annotations.json"
    ids: coco.Ids = coco.NO_IDS
    shape: coco.Shape = "rle"
    tolerance: float = 1.0

    @property
    def names(self) -> Sequence[str]:
        return (self.file,)

    def write(self, output: Output, photos: Iterable[Annotated]) -> None:
        pieces = coco.document(photos, self.classes, self.ids, self.shape, self.tolerance)
        output.write(self.file, (piece.encode() for piece in pieces))


@dataclass(frozen=True, slots=True)
class Yolo:
    """``images/``, ``labels/``, the list of these photos, so that none of an earlier run is among them, and, last,
    ``data.yaml``.

    classes: in the order of their numbers, from 0. tolerance: of polygons, pixels.
    """

    classes: Sequence[str]
    shape: yolo.Shape = "polygons"
    tolerance: float = 1.0
    photos: Photos = "auto"

    @property
    def names(self) -> Sequence[str]:
        own = (yolo.LABELS, yolo.LISTED, DATA_YAML)
        return own if self.photos == "none" else (yolo.IMAGES, *own)

    def write(self, output: Output, photos: Iterable[Annotated]) -> None:
        numbers = {label: number for number, label in enumerate(self.classes)}
        listed: list[bytes] = []
        for photo, image, label_file in yolo.files(photos, theirs=self.photos == "none"):
            self._bring(output, photo.source.reference, f"{yolo.IMAGES}/{image}")
            lines = yolo.labels(photo, numbers, self.shape, self.tolerance)
            output.write(f"{yolo.LABELS}/{label_file}", [lines.encode()])
            listed.append(yolo.listed(image).encode())
        output.write(yolo.LISTED, listed)
        output.write(DATA_YAML, [yolo.data_yaml(self.classes).encode()])

    def _bring(self, output: Output, reference: str, name: str) -> None:
        here = isinstance(output, LocalOutput) and not is_url(reference)
        how = ("link" if here else "copy") if self.photos == "auto" else self.photos
        if how == "link" and isinstance(output, LocalOutput):
            output.link(name, Path(reference))
        elif how == "copy":
            output.write(name, [read(reference)])


@dataclass(frozen=True, slots=True)
class LabelStudio:
    """One JSON file of tasks, with the labeling configuration beside it."""

    target: label_studio.Target
    addresses: label_studio.Addresses
    tolerance: float | None = None
    file: str = "tasks.json"

    @property
    def names(self) -> Sequence[str]:
        return (self.file, f"{self.file.removesuffix('.json')}.config.xml")

    def write(self, output: Output, photos: Iterable[Annotated]) -> None:
        tasks = label_studio.document(photos, self.target, self.addresses, self.tolerance)
        file, config = self.names
        output.write(file, (piece.encode() for piece in tasks))
        output.write(config, [self.target.xml.encode()])


def save_coco(
    photos: Iterable[Annotated],
    path: str | os.PathLike[str],
    classes: Sequence[str] = (),
    *,
    shape: coco.Shape = "rle",
) -> None:
    """A JSON file in COCO's format, here or at a URL. classes: in the order of their ids; by default as they come.

    Raises AnnotateError if it can't be written.
    """
    folder, _, file = os.fspath(path).rpartition("/")
    Coco(classes or classes_of(photos), file, shape=shape).write(open_output(folder or "."), photos)


def save_yolo(
    photos: Iterable[Annotated],
    folder: str | os.PathLike[str],
    classes: Sequence[str] = (),
    *,
    shape: yolo.Shape = "polygons",
) -> None:
    """A folder in YOLO's format, here or at a URL. classes: in the order of their numbers; by default as they come.

    Raises AnnotateError if it can't be written.
    """
    Yolo(classes or classes_of(photos), shape).write(open_output(os.fspath(folder)), photos)


def save_label_studio(
    photos: Iterable[Annotated],
    path: str | os.PathLike[str],
    addresses: label_studio.Addresses,
    config: str = "",
) -> None:
    """A JSON file of tasks with predictions, here or at a URL, and the labeling configuration beside it.

    addresses: how Label Studio reaches the photos. config: the project's; by default one with the labels in ``photos``.
    Raises AnnotateError if it can't be written, or has no place for a label.
    """
    folder, _, file = os.fspath(path).rpartition("/")
    target = label_studio.Target.of(config or label_studio.config_for(classes_of(photos)))
    LabelStudio(target, addresses, file=file).write(open_output(folder or "."), photos)


def classes_of(photos: Iterable[Annotated]) -> list[str]:
    """The labels in these photos, in the order in which they come."""
    return list(dict.fromkeys(segment.label for photo in photos for segment in photo.segments))
