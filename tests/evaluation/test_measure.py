"""One pass over a dataset tells how much of it the figures are of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from maskloop.errors import ImageUnavailable
from maskloop.evaluation.coco import load
from maskloop.evaluation.measure import evaluate

Write = Callable[..., tuple[Path, Path]]


def add_a_damaged_photo(document: dict) -> None:
    document["images"].insert(0, {**document["images"][0], "id": 8, "file_name": "bad.png"})


def test_a_photo_that_cannot_be_read_is_named_counted_and_left_out(
    write_dataset: Write, shapes: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    images, annotations = write_dataset(add_a_damaged_photo)
    (images / "bad.png").write_bytes(b"no image")
    assert evaluate(shapes(), load(images, annotations), []) == {"photos": 1, "objects": 2, "left_out": 1}
    assert "bad.png is left out" in caplog.text


def add_a_photo_without_objects(document: dict) -> None:
    document["images"].append({**document["images"][0], "id": 9, "file_name": "bare.png"})


@pytest.mark.parametrize("change", [lambda _: None, add_a_photo_without_objects])
def test_without_any_object_on_a_photo_that_can_be_read_there_is_an_error(
    write_dataset: Write, shapes: Callable, change: Callable[[dict], None]
) -> None:
    images, annotations = write_dataset(change)
    (images / "a.png").rename(images / "bare.png")
    (images / "a.png").write_bytes(b"no image")
    with pytest.raises(ImageUnavailable, match="No photo with objects is left: 1 can't be read"):
        evaluate(shapes(), load(images, annotations), [])
