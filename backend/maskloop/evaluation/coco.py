"""Ground truth in COCO's format: https://cocodataset.org/#format-data (object detection)."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pydantic import AfterValidator, BaseModel, ValidationError

from maskloop.errors import BadRequest, ImageUnavailable, ImageUnreadable
from maskloop.geometry import coco_rle
from maskloop.images.decode import decode
from maskloop.sam.values import Image, ImageSize

SMALLEST_OBJECT = 100
"""Objects of fewer mask pixels are not measured."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """One annotated object.

    rle: COCO's compressed run lengths of its mask, (height, width) of the photo.
    box: float32 (4,), x0 y0 x1 y1 in pixels, as annotated. label: what it is called, empty if nobody said.
    """

    rle: dict[str, Any]
    box: NDArray[np.float32]
    label: str = ""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool (height, width) of the photo; decoded at each use."""
        return coco_rle.decode(self.rle)

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return coco_rle.area(self.rle)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One annotated photo. Its objects are those of at least 100 pixels that are no crowd; ``others`` are what else is
    annotated: to find it is neither right nor wrong."""

    path: Path
    size: ImageSize
    objects: tuple[GroundTruth, ...]
    others: tuple[GroundTruth, ...] = ()

    def read(self) -> Image:
        """Pixels as they were annotated: upright, as people see a photo, or as stored if only that has the annotated
        size. Decoded whatever its size: it is a file of whoever asks.

        Raises ImageUnreadable if the file is no image, BadRequest if it has another size than annotated.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise ImageUnreadable(f"{self.path} can't be read: {error.strerror}.") from error
        for upright in (True, False):
            image = decode(data, max_pixels=sys.maxsize, name=str(self.path), upright=upright)
            if image.shape[:2] == self.size:
                return image
        raise BadRequest(
            f"{self.path} has {image.shape[1]} x {image.shape[0]} pixels, "
            f"but its annotations are for {self.size.width} x {self.size.height}."
        )


class _Image(BaseModel):
    id: int
    file_name: str
    height: int
    width: int


class _Rle(BaseModel):
    counts: list[int] | str
    size: tuple[int, int]


def _with_an_inside(shape: list[list[float]] | _Rle | None) -> list[list[float]] | _Rle | None:
    """Without polygons of fewer than three corners; None if nothing is left."""
    return [polygon for polygon in shape if len(polygon) >= 6] or None if isinstance(shape, list) else shape


class _Annotation(BaseModel):
    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    segmentation: Annotated[list[list[float]] | _Rle | None, AfterValidator(_with_an_inside)] = None
    """None: the object has a box alone, as Label Studio's export says with an empty list."""
    iscrowd: int = 0


class _Category(BaseModel):
    id: int
    name: str


class _File(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


def load(images: Path, annotations: Path, *, limit: int | None = None, categories: Collection[str] = ()) -> list[Photo]:
    """Read an annotation file whose photos lie in the folder ``images``.

    limit: takes the first photos of the file that are there. categories: leaves out the objects of others, if any are
    named; of one that the file doesn't list, the number is its name. What the file has and can't be used is logged:
    photos that the folder lacks, objects without an outline.

    Raises BadRequest if the file is not COCO's JSON, lacks a category, or there is nothing to measure, ImageUnavailable
    if the folder or all photos are missing.
    """
    if not images.is_dir():
        raise ImageUnavailable(f"{images} is not a folder.", "Name the folder that holds the photos.")
    file = _read(annotations)
    names = {category.id: category.name for category in file.categories}
    _check_categories({_name(annotation, names) for annotation in file.annotations}, categories, annotations)
    by_image: dict[int, list[_Annotation]] = {}
    for annotation in file.annotations:
        if not categories or _name(annotation, names) in categories:
            by_image.setdefault(annotation.image_id, []).append(annotation)
    photos: list[Photo] = []
    missing: list[str] = []
    shapeless = 0
    for image in file.images:
        if limit is not None and len(photos) == limit:
            break
        path = images / image.file_name
        if not path.is_file():
            missing.append(image.file_name)
            continue
        annotated = by_image.get(image.id, [])
        shapeless += sum(annotation.segmentation is None for annotation in annotated)
        photos.append(_photo(path, ImageSize(image.height, image.width), annotated, names))
    if not photos:
        raise ImageUnavailable(
            f"None of the {len(file.images)} photos named in {annotations} is in {images}"
            + (f", e.g. {missing[0]}." if missing else ".")
        )
    without = f"{shapeless} annotated objects have no outline" if shapeless else ""
    if not any(photo.objects for photo in photos):
        because = f" {without}." if without else ""
        raise BadRequest(f"{annotations} has no object of at least {SMALLEST_OBJECT} pixels on these photos.{because}")
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        log.warning("%d annotated photos are not in %s and are left out: %s", len(missing), images, some)
    if without:
        log.warning("%s and are left out.", without)
    return photos


def _name(annotation: _Annotation, names: Mapping[int, str]) -> str:
    return names.get(annotation.category_id, str(annotation.category_id))


def _check_categories(known: Collection[str], wanted: Collection[str], annotations: Path) -> None:
    if unknown := sorted(set(wanted) - set(known)):
        raise BadRequest(
            f"{annotations} has no object of category {', '.join(unknown)}.", f"It has: {', '.join(sorted(known))}."
        )


def _read(annotations: Path) -> _File:
    try:
        return _File.model_validate(json.loads(annotations.read_bytes()))
    except OSError as error:
        raise BadRequest(f"{annotations} can't be read: {error.strerror}.") from error
    except ValueError as error:
        reason = _first_error(error) if isinstance(error, ValidationError) else str(error)
        raise BadRequest(f"{annotations} is not COCO's instances JSON: {reason}.") from error


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}" + (
        f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    )


def _photo(path: Path, size: ImageSize, annotations: Sequence[_Annotation], names: Mapping[int, str]) -> Photo:
    objects: list[GroundTruth] = []
    others: list[GroundTruth] = []
    for annotation in annotations:
        if annotation.segmentation is None:
            continue
        x, y, width, height = annotation.bbox
        box = np.array([x, y, x + width, y + height], np.float32)
        rle = _rle(annotation.segmentation, size, annotation.id)
        found = GroundTruth(rle, box, _name(annotation, names))
        measured = found.area >= SMALLEST_OBJECT and not annotation.iscrowd
        (objects if measured else others).append(found)
    return Photo(path, size, tuple(objects), tuple(others))


def _rle(shape: list[list[float]] | _Rle, size: ImageSize, number: int) -> dict[str, Any]:
    """Compressed run lengths of polygons, run lengths, or compressed run lengths. number: of the annotation."""
    given = f"Annotation {number}"
    rle: dict[str, Any]
    try:
        if isinstance(shape, list):
            rle = coco_mask.merge(coco_mask.frPyObjects(shape, size.height, size.width))
        elif isinstance(shape.counts, str):
            rle = {"size": list(shape.size), "counts": shape.counts.encode()}
        else:
            rle = coco_mask.frPyObjects(shape.model_dump(), *shape.size)
        height, width = coco_mask.decode(rle).shape
    except ValueError as error:
        raise BadRequest(f"{given} has a segmentation that can't be decoded: {error}.") from error
    if (height, width) != size:
        raise BadRequest(f"{given} has a mask of {width} x {height} pixels on a photo of {size.width} x {size.height}.")
    return rle
