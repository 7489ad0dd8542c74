"""What an annotated photo is, and its JSON: as it crosses the queue and as the journal keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskloop.errors import MaskloopError
from maskloop.geometry import coco_rle
from maskloop.sam.values import ImageSize, Mask


class AnnotateError(MaskloopError):
    """The run can't start or can't go on: no such source, nowhere to write, options that contradict one another."""

    code = "annotate"


@dataclass(frozen=True, slots=True)
class Source:
    """One photo to annotate.

    reference: an absolute path, or a URL that fsspec opens.
    name: what the output calls it, ``/`` between folders, without parts such as ``..``.
    stamp: another once the file is another; empty if that can't be told, as of URLs.
    """

    reference: str
    name: str
    stamp: str = ""

    def __post_init__(self) -> None:
        parts = [part for part in self.name.split("/") if part not in ("", ".", "..")]
        object.__setattr__(self, "name", "/".join(parts) or "photo")


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something of the source that is not in the output, and why."""

    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class Segment:
    """One object of a photo, in pixels of the upright original.

    counts: COCO's compressed run lengths of the mask.
    box: x, y, width, height of the mask.
    area: pixels of the mask.
    score: about 0 to 1.
    """

    counts: str
    box: tuple[float, float, float, float]
    area: int
    score: float
    label: str

    @classmethod
    def of(cls, mask: Mask, label: str) -> Segment:
        """The segment of a mask that is not empty."""
        rle = coco_rle.encode(mask.pixels)
        return cls(rle["counts"].decode(), coco_rle.box(rle), coco_rle.area(rle), mask.score, label)

    def pixels(self, size: ImageSize) -> NDArray[np.bool_]:
        """The mask, bool (height, width) of the photo."""
        return coco_rle.decode({"size": list(size), "counts": self.counts})


@dataclass(frozen=True, slots=True)
class Annotated:
    """One photo with its segments, best first.

    version: of the model that found them. problems: what could not be done in the photo, in words.
    """

    source: Source
    size: ImageSize
    segments: tuple[Segment, ...]
    version: str = ""
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, source: Source, found: dict[str, Any]) -> Annotated:
        """``found`` is the JSON of all but the source."""
        return cls(
            source,
            ImageSize(*found["size"]),
            tuple(Segment(**{**segment, "box": tuple(segment["box"])}) for segment in found["segments"]),
            found["version"],
            tuple(found["problems"]),
        )
