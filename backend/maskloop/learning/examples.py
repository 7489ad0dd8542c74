"""Examples of classes: objects that people outlined and named, from reviews or from a COCO file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskloop.errors import BadRequest, MaskloopError
from maskloop.evaluation import coco
from maskloop.images import task_reference
from maskloop.learning import classes, regions
from maskloop.learning.approved import approved
from maskloop.learning.classes import Classes
from maskloop.learning.dataset import ground_truth
from maskloop.learning.reviews import image_of, read_sized
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Project
from maskloop.sam.values import Image, ImageSize

Mask = NDArray[np.bool_]
Describe = Callable[[Image, Sequence[Mask]], NDArray[np.float32]]
"""``sam.appearance.Describer`` is one."""
Classify = Callable[[Image, Sequence[Mask]], Sequence[str | None]]
"""The class of each mask of an image, None if unsure."""
MOST = 50
"""Examples of a class, the newest, from which it is learned: more take time and tell little."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Example:
    """rle: COCO's compressed run lengths of the mask."""

    label: str
    rle: dict[str, object]

    @property
    def mask(self) -> Mask:
        return coco.GroundTruth(self.rle, np.zeros(4, np.float32), 0).mask


@dataclass(frozen=True, slots=True)
class NamedPhoto:
    """A photo and its named objects. read: its pixels; raises what ``images`` or ``evaluation.coco`` raise."""

    name: str
    read: Callable[[], Image]
    examples: tuple[Example, ...]


def from_coco(images: Path, annotations: Path, categories: Collection[str] = ()) -> list[NamedPhoto]:
    """Every object, or those of ``categories``. Raises what ``evaluation.coco.load`` raises."""
    dataset = coco.load(images, annotations)
    found = [
        NamedPhoto(
            photo.path.name,
            photo.read,
            tuple(
                Example(label, one.rle)
                for one in photo.objects
                if (label := dataset.categories[one.category]) in categories or not categories
            ),
        )
        for photo in dataset.photos
    ]
    return [photo for photo in found if photo.examples]


def from_reviews(store: FeedbackStore, project_id: int, load: Callable[[str], Image]) -> list[NamedPhoto]:
    """What was accepted, edited or added with a label, the oldest task first. Of a photo's rectangles only where it has
    no outlines: both may show one object.

    Raises FeedbackUnavailable, and BadRequest if the project is unknown.
    """
    photos: list[NamedPhoto] = []
    with store.session() as session:
        project = session.get(Project, project_id)
        if project is None:
            raise BadRequest(f"Nothing is known of project {project_id}.", "Run `maskloop sync --project N` first.")
        for task, annotation, ids in approved(session, project_id):
            named = [one for one in annotation.result if regions.is_shape(one) and one["id"] in ids]
            named = [one for one in named if regions.label(one)]
            outlines = [one for one in named if regions.is_outline(one)]
            by_image: dict[tuple[str, int, int], list[Example]] = {}
            for region in outlines or named:
                try:
                    text = image_of(region, task.data, project.controls)
                    image = task_reference(text, task=task.id, project=project_id), *regions.size(region)
                    mask = regions.mask(region)
                except (regions.UnusableRegion, MaskloopError) as error:
                    log.info("task %s, region %s is no example: %s", task.id, region["id"], error)
                    continue
                if mask.any():
                    example = Example(regions.label(region) or "", ground_truth(mask).rle)
                    by_image.setdefault(image, []).append(example)
            for (reference, height, width), found in by_image.items():
                read = partial(read_sized, load, reference, ImageSize(height, width))
                photos.append(NamedPhoto(f"task {task.id} {reference}", read, tuple(found)))
    return photos


def newest(photos: Sequence[NamedPhoto], most: int = MOST) -> list[NamedPhoto]:
    """At most so many examples of each class, those of the last photos."""
    seen: Counter[str] = Counter()
    kept: list[NamedPhoto] = []
    for photo in reversed(photos):
        some = []
        for example in photo.examples:
            seen[example.label] += 1
            if seen[example.label] <= most:
                some.append(example)
        if some:
            kept.append(NamedPhoto(photo.name, photo.read, tuple(some)))
    return kept[::-1]


def learn(photos: Iterable[NamedPhoto], describe: Describe) -> Classes:
    """Raises BadRequest if there are too few examples. Photos that can't be read are left out, and logged."""
    looks, labels, names = [], [], []
    for photo in photos:
        try:
            image = photo.read()
        except MaskloopError as error:
            log.warning("%s is left out: %s", photo.name, error)
            continue
        looks.append(describe(image, [example.mask for example in photo.examples]))
        labels += [example.label for example in photo.examples]
        names += [photo.name] * len(photo.examples)
    if not looks:
        raise BadRequest("There are no examples to learn classes from.", "Review some masks, with labels.")
    return classes.fit(np.concatenate(looks), labels, names)


def classify_with(classes: Classes, describe: Describe) -> Classify:
    """An empty mask has no class."""

    def classify(image: Image, masks: Sequence[Mask]) -> list[str | None]:
        names: list[str | None] = [None] * len(masks)
        shown = [index for index, mask in enumerate(masks) if mask.any()]
        if shown:
            looks = describe(image, [masks[index] for index in shown])
            for index, name in zip(shown, classes.predict(looks), strict=True):
                names[index] = name
        return names

    return classify
