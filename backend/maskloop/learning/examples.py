"""Examples of classes, objects that people outlined and named: which of them are learned from, and what is learned."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from maskloop.errors import BadRequest, MaskloopError
from maskloop.learning import classes, regions, reviews
from maskloop.learning.classes import MOST, Classes
from maskloop.learning.dataset import ReviewedPhoto
from maskloop.learning.store import FeedbackStore
from maskloop.sam.protocols import Classify
from maskloop.sam.values import Image

Mask = NDArray[np.bool_]
Describe = Callable[[Image, Sequence[Mask]], NDArray[np.float32]]
"""``sam.appearance.Describer`` is one."""

log = logging.getLogger(__name__)


def from_reviews(store: FeedbackStore, project_id: int, load: Callable[[str], Image]) -> list[ReviewedPhoto]:
    """What was accepted, edited or added with a label, the oldest task first. Raises what ``reviews`` raises."""
    photos, problems = reviews.from_reviews(store, project_id, load, named)
    for place, problem in problems.items():
        log.info("%s is no example: %s", place, problem)
    return photos


def named(found: Sequence[regions.Region]) -> list[regions.Region]:
    """Those with a label; rectangles only of labels that no outline has: both may show one object."""
    outlined = {regions.label(region) for region in reviews.outlines(found)}
    return [
        region
        for region in found
        if (label := regions.label(region)) and (label not in outlined or regions.is_outline(region))
    ]


def newest(photos: Sequence[ReviewedPhoto], most: int = MOST) -> list[ReviewedPhoto]:
    """At most so many examples of each class, those of the last photos."""
    seen: Counter[str] = Counter()
    kept: list[ReviewedPhoto] = []
    for photo in reversed(photos):
        some = []
        for example in photo.objects:
            seen[example.label] += 1
            if seen[example.label] <= most:
                some.append(example)
        if some:
            kept.append(replace(photo, objects=tuple(some)))
    return kept[::-1]


def learn(photos: Iterable[ReviewedPhoto], describe: Describe) -> Classes:
    """Raises BadRequest if there are too few examples. Photos that can't be read are left out, and logged."""
    looks, labels, names = [], [], []
    for photo in photos:
        try:
            image = photo.read()
        except MaskloopError as error:
            log.warning("%s is left out: %s", photo.name, error)
            continue
        looks.append(describe(image, [example.mask for example in photo.objects]))
        labels += [example.label for example in photo.objects]
        names += [photo.name] * len(photo.objects)
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
