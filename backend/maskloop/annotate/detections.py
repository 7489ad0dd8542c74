"""A detector's boxes, in COCO's JSON, as prompts for masks: https://cocodataset.org/#format-results"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Annotated, NamedTuple

from pydantic import AllowInfNan, BaseModel, Field, TypeAdapter, ValidationError

from maskloop.annotate.coco import Ids
from maskloop.annotate.values import AnnotateError

Box = tuple[float, float, float, float]


class Detection(NamedTuple):
    """box: x, y, width, height in pixels. score: None where the detector gave none."""

    box: Box
    label: str
    score: float | None


Number = Annotated[float, AllowInfNan(False)]
Length = Annotated[float, AllowInfNan(False), Field(ge=0)]


class _Result(BaseModel):
    image_id: int | str
    category_id: int
    bbox: tuple[Number, Number, Length, Length]
    score: Number | None = None
    iscrowd: bool = False


class _Image(BaseModel):
    id: int | str
    file_name: str


class _Category(BaseModel):
    id: int
    name: str


class _Dataset(BaseModel):
    images: list[_Image]
    annotations: list[_Result]
    categories: list[_Category] = Field(min_length=1)


_RESULTS = TypeAdapter(list[_Result])


class Detections:
    """Boxes by the name that the file has for their photo. images, categories: the file's numbers, by photos' names
    there and by classes."""

    def __init__(
        self,
        found: Sequence[tuple[str, Detection]],
        names: Sequence[str],
        labels: Sequence[str],
        images: Mapping[str, int | str],
        categories: Mapping[str, int],
    ) -> None:
        self.labels = tuple(labels)
        self._categories = categories
        self._images = {name: number for name, number in images.items() if isinstance(number, int)}
        self._boxes: dict[str, list[Detection]] = {name: [] for name in names}
        for name, detection in found:
            self._boxes[name].append(detection)
        self._by_file: dict[str, list[str]] = {}
        for name in self._boxes:
            self._by_file.setdefault(PurePosixPath(name).name, []).append(name)

    def __getitem__(self, name: str) -> tuple[Detection, ...]:
        return tuple(self._boxes[name])

    def __iter__(self) -> Iterator[str]:
        return (name for name, boxes in self._boxes.items() if boxes)

    @property
    def ids(self) -> Ids:
        """The file's own, for a COCO file of what its boxes prompt."""

        def image(photo: str) -> int | None:
            return None if (name := self.name_of(photo)) is None else self._images.get(name)

        return Ids(self._categories, image, max(self._images.values(), default=0))

    def digest(self) -> str:
        """Another one for other boxes, and for the same of other classes."""
        return sha256(json.dumps(self._boxes).encode()).hexdigest()[:16]

    def name_of(self, photo: str) -> str | None:
        """The file's name for ``photo``: the same; one that is the end of the other; its stem; its number. None: it has
        none. Raises :class:`AnnotateError` if several fit.
        """
        if photo in self._boxes:
            return photo
        path = PurePosixPath(photo)
        fitting = {
            name
            for name in self._by_file.get(path.name, ())
            if f"/{photo}".endswith(f"/{name}") or name.endswith(f"/{photo}")
        } or {name for name in (path.stem, path.stem.lstrip("0") or "0") if name in self._boxes}
        if len(fitting) > 1:
            raise AnnotateError(f"The boxes name several photos that could be {photo}: {', '.join(sorted(fitting))}.")
        return next(iter(fitting), None)


def parse(content: bytes, classes: Sequence[str] = ()) -> Detections:
    """The boxes in a COCO data set (``images``, ``annotations`` with ``bbox``, ``categories``) or in a list of results,
    whose ``image_id`` is the photo's name or number and whose ``category_id`` counts ``classes`` from 1. Crowds are
    left out: their boxes hold many objects.

    Raises :class:`AnnotateError` where the JSON is neither, contradicts itself, or names a class not in ``classes``.
    """
    try:
        if content.lstrip()[:1] == b"[":
            return _of_results(_RESULTS.validate_json(content), classes)
        return _of_dataset(_Dataset.model_validate_json(content), classes)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise AnnotateError(f"The boxes can't be understood: {place}: {first['msg']}.") from error


def _of_results(results: Sequence[_Result], classes: Sequence[str]) -> Detections:
    for result in results:
        if not 1 <= result.category_id <= len(classes):
            raise AnnotateError(
                f"The boxes have category {result.category_id}, and there are {len(classes)} classes.",
                "A list of results has no names: give all classes, in the order of their ids, with --classes.",
            )
    found = [(str(each.image_id), _detection(each, classes[each.category_id - 1])) for each in results]
    images = {str(each.image_id): each.image_id for each in results}
    categories = {label: number for number, label in enumerate(classes, 1)}
    return Detections(found, [name for name, _ in found], classes, images, categories)


def _of_dataset(dataset: _Dataset, classes: Sequence[str]) -> Detections:
    files = {image.id: image.file_name for image in dataset.images}
    labels = {category.id: category.name for category in sorted(dataset.categories, key=lambda each: each.id)}
    unknown = sorted(set(labels.values()) - set(classes)) if classes else []
    if unknown:
        raise AnnotateError(f"The boxes have classes that are not among yours: {', '.join(unknown)}.")
    for each in dataset.annotations:
        if each.image_id not in files or each.category_id not in labels:
            what = f"image {each.image_id}" if each.image_id not in files else f"category {each.category_id}"
            raise AnnotateError(f"The boxes contradict themselves: one is of {what}, which the file does not list.")
    single = [each for each in dataset.annotations if not each.iscrowd]
    found = [(files[each.image_id], _detection(each, labels[each.category_id])) for each in single]
    images = {name: number for number, name in files.items()}
    categories = {label: number for number, label in reversed(labels.items())}
    return Detections(found, list(files.values()), classes or tuple(dict.fromkeys(labels.values())), images, categories)


def _detection(result: _Result, label: str) -> Detection:
    return Detection(result.bbox, label, result.score)
