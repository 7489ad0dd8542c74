"""What a version learns from: photos with the masks that people approved, from reviews or from a COCO file."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskloop.evaluation import coco
from maskloop.evaluation.coco import GroundTruth
from maskloop.geometry import boxes, coco_rle
from maskloop.learning.looks import looks
from maskloop.learning.registry import TrainingData
from maskloop.learning.samples import Sample, Seen, prepare
from maskloop.sam.values import Image

MOST_OBJECTS = 100
"""Of one photo that are learned from, or judged by: there they are alike, and their masks are held at full size."""
HELD_OUT = 0.2
"""Share of the reviewed tasks that no version ever learns from."""


@dataclass(frozen=True, slots=True, eq=False)
class ReviewedPhoto:
    """A photo and the objects that people outlined in it.

    name: what it is held out by: equal names, whatever the objects, are always on the same side.
    read: its pixels; raises what ``images`` or ``evaluation.coco`` raise.
    """

    name: str
    read: Callable[[], Image]
    objects: tuple[GroundTruth, ...]

    def some(self) -> list[GroundTruth]:
        """The objects, or MOST_OBJECTS of them, always the same ones."""
        chance = np.random.default_rng(zlib.crc32(self.name.encode()))
        chosen = chance.permutation(len(self.objects))[:MOST_OBJECTS]
        return [self.objects[index] for index in sorted(chosen)]


def from_coco(images: Path, annotations: Path, categories: Collection[str] = ()) -> list[ReviewedPhoto]:
    """Every object of a COCO file, as though it had been reviewed; only those of ``categories``, if any are named.

    Raises what ``evaluation.coco.load`` raises.
    """
    photos = coco.load(images, annotations, categories=categories)
    found = [ReviewedPhoto(photo.path.name, photo.read, photo.objects) for photo in photos]
    return [photo for photo in found if photo.objects]


def ground_truth(mask: NDArray[np.bool_], label: str = "") -> GroundTruth:
    """An object from its mask (height, width)."""
    return GroundTruth(coco_rle.encode(mask), np.array(boxes.of_mask(mask), np.float32), label)


def is_held_out(name: str, share: float = HELD_OUT) -> bool:
    """Whether a task is kept for the gate: decided by its name alone, once and for all."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") < share * 2**64


def split(photos: Iterable[ReviewedPhoto], share: float = HELD_OUT) -> tuple[list[ReviewedPhoto], list[ReviewedPhoto]]:
    """Those to learn from, and those held out."""
    learn: list[ReviewedPhoto] = []
    keep: list[ReviewedPhoto] = []
    for photo in photos:
        (keep if is_held_out(photo.name, share) else learn).append(photo)
    return learn, keep


def fingerprint(photos: Iterable[ReviewedPhoto]) -> str:
    """sha256 over their names and masks, hexadecimal."""
    digest = hashlib.sha256()
    for photo in sorted(photos, key=lambda one: one.name):
        digest.update(f"{photo.name}\n".encode())
        for one in photo.objects:
            digest.update(one.rle["counts"])
    return digest.hexdigest()


def describe(source: str, photos: Sequence[ReviewedPhoto], read_until: datetime | None = None) -> TrainingData:
    """What is kept about the data beside a version."""
    return TrainingData(
        source=source,
        fingerprint=fingerprint(photos),
        photos=len(photos),
        objects=sum(len(photo.objects) for photo in photos),
        read_until=read_until,
    )


def views(photo: ReviewedPhoto, image: Image, see: Callable[[Image], Seen], count: int, seed: int) -> list[Sample]:
    """``count`` looks at the photo, whose pixels are ``image``, each with its objects: see ``looks``. The first is the
    photo itself.

    What is seen depends on the seed, the photo's name and its objects.
    """
    own = zlib.crc32(f"{seed} {photo.name}".encode())
    masks = [one.mask for one in photo.some()]
    return [prepare(see(look.image), look.masks, own) for look in looks(image, masks, count, own)]
