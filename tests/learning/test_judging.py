"""What versions are judged by: photos that none learned from, each once, as far as they can be had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskloop.errors import ImageUnavailable, ImageUnreadable
from maskloop.learning.candidate import Encoder
from maskloop.learning.dataset import ReviewedPhoto, ground_truth
from maskloop.learning.judging import encoded, judge, read_held_out
from maskloop.learning.registry import OFFICIAL, Judgement, Registry
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, Image, ImageSize


def reviewed(name: str, shade: int | Exception, objects: int = 4) -> ReviewedPhoto:
    """A photo of one shade, or one that can't be read."""

    def read() -> Image:
        if isinstance(shade, Exception):
            raise shade
        return np.full((8, 8, 3), shade, np.uint8)

    return ReviewedPhoto(name, read, tuple(ground_truth(np.eye(8, dtype=bool)) for _ in range(objects)))


def judged(directory: Path, *photos: ReviewedPhoto) -> Judgement:
    """For photos that are too few: no network is asked."""

    def not_asked(_: str) -> Encoder:
        raise AssertionError

    return judge(Registry(directory, lambda: directory), OFFICIAL, read_held_out(photos), (), not_asked)


class Constant:
    """An encoder that sees the same in every image."""

    def __init__(self, value: int) -> None:
        self.identity = str(value)

    def embedding_of(self, image: Image) -> Embedding:
        return Embedding(np.full(EMBEDDING_SHAPE, int(self.identity), np.float16), ImageSize(*image.shape[:2]))


def test_each_version_is_judged_by_what_its_own_encoder_sees() -> None:
    versions = {"official": Constant(0), "served": Constant(0), "adapted": Constant(1)}
    seen = encoded([reviewed("photo", 1)], versions)
    assert {name: [embedding.features[0, 0, 0] for embedding, _ in found] for name, found in seen.items()} == {
        "official": [0],
        "served": [0],
        "adapted": [1],
    }
    with pytest.raises(ImageUnavailable):
        encoded([reviewed("photo", ImageUnavailable("It is gone meanwhile."))], versions)


def test_a_photo_in_several_tasks_is_one_photo(tmp_path: Path) -> None:
    copies = [reviewed(f"task {number}", 1) for number in range(5)]
    assert "20 held-out objects on 1 photos are too few" in judged(tmp_path, *copies).reason
    (photo,) = read_held_out(copies).photos.values()
    assert len(photo.objects) == 20


def test_what_a_version_was_judged_on_is_known_again() -> None:
    def judged_on(*photos: ReviewedPhoto, against: str = OFFICIAL) -> str:
        return read_held_out(photos).judged_on(against)

    one, other = reviewed("task 1", 1), reviewed("task 2", 2)
    away = reviewed("task 2", ImageUnavailable("It is gone."))
    assert judged_on(one) == judged_on(one, away)
    assert len({judged_on(one), judged_on(one, other), judged_on(one, against="v1")}) == 3


@pytest.mark.parametrize("error", [ImageUnavailable, ImageUnreadable])
def test_no_verdict_is_given_while_photos_are_out_of_reach(error: Callable[[str], Exception], tmp_path: Path) -> None:
    photos = reviewed("task 1", 1), reviewed("task 2", error("2.png is away."))
    if error is ImageUnreadable:  # it won't come back
        assert "4 held-out objects on 1 photos" in judged(tmp_path, *photos).reason
    else:
        with pytest.raises(ImageUnavailable, match=r"official can't be judged.* Of task 2: 2\.png is away"):
            judged(tmp_path, *photos)
