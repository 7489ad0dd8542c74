"""Other looks at a photo: mirrored, and parts of it, enlarged.

A few hundred objects are soon known by heart. Seen larger, elsewhere in the image and from the other side, they teach
for longer. The encoder has to see each look, which costs as much as another photo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskloop.sam.values import Image

SIDES = (0.4, 0.8)
"""Least and greatest side of a part, as a share of the photo's."""
LEAST_LEFT = 0.4
"""Share of an object that a part must show for it to be learned there."""


class Look(NamedTuple):
    """Pixels, and the masks (height, width) of the objects on them."""

    image: Image
    masks: list[NDArray[np.bool_]]


def looks(image: Image, masks: Sequence[NDArray[np.bool_]], count: int, seed: int) -> Iterator[Look]:
    """At most ``count``: the photo as it is, its mirror image, then parts of it around places on its objects, the
    second, fourth and so on mirrored."""
    whole = Look(image, list(masks))
    yield from (whole, mirrored(whole))[:count]
    for number in range(count - 2):
        chance = np.random.default_rng([seed, number])
        rows, columns = part(masks[int(chance.integers(len(masks)))], chance)
        seen = [(mask.sum(), mask[rows, columns]) for mask in masks]
        left = [shown for pixels, shown in seen if shown.sum() >= max(1, LEAST_LEFT * pixels)]
        if left:
            look = Look(np.ascontiguousarray(image[rows, columns]), left)
            yield mirrored(look) if number % 2 else look


def mirrored(look: Look) -> Look:
    return Look(np.ascontiguousarray(look.image[:, ::-1]), [mask[:, ::-1] for mask in look.masks])


def part(mask: NDArray[np.bool_], chance: np.random.Generator) -> tuple[slice, slice]:
    """Rows and columns of a part of the image that has a place on the object, anywhere in its middle 60 %."""
    share = chance.uniform(*SIDES)
    places = np.argwhere(mask)
    place = places[chance.integers(len(places))]
    sides = [int(np.ceil(length * share)) for length in mask.shape]
    starts = [
        int(np.clip(at - chance.uniform(0.2, 0.8) * side, 0, length - side))
        for at, side, length in zip(place, sides, mask.shape, strict=True)
    ]
    rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
    return rows, columns
