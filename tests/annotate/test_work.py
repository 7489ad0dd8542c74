"""A job's photos become segments, each for itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image as Pillow

from maskloop.annotate.detections import Detection
from maskloop.annotate.values import Annotated, Source
from maskloop.annotate.work import Job, Task, Worker
from maskloop.learning.calibration import Calibration, Chances
from maskloop.sam.automatic import AutomaticSettings
from maskloop.sam.values import Embedding

from .stub_app import StubEngine

WORKER = Worker(StubEngine(), max_bytes=1 << 20, max_pixels=100_000, version="v1")
FEW = AutomaticSettings(points_per_side=2, stability_score_thresh=0.5)


def save(path: Path, width: int = 200, height: int = 100) -> str:
    Pillow.new("RGB", (width, height), "gray").save(path)
    return str(path)


def annotate(*tasks: Task, worker: Worker = WORKER) -> list[Annotated | str]:
    """Through JSON, as in the queue."""
    job = orjson.loads(orjson.dumps(Job(tasks, "thing", FEW).to_json()))
    answers = orjson.loads(orjson.dumps(worker(job)))
    return [
        answer.get("skipped") or Annotated.of(Source(task.reference, ""), answer)
        for task, answer in zip(tasks, answers, strict=True)
    ]


def test_masks_are_called_what_learned_classes_say_and_by_the_label_where_they_are_unsure(tmp_path: Path) -> None:
    def by_place(_image: np.ndarray, masks: Sequence[np.ndarray]) -> list[str | None]:
        return ["left" if np.flatnonzero(mask.any(axis=0))[0] < 60 else None for mask in masks]

    asked: list[str] = []

    def called(name: str) -> Callable[..., list[str | None]]:
        asked.append(name)
        return by_place

    worker = Worker(StubEngine(), max_bytes=1 << 20, max_pixels=100_000, version="v1", classifier=called)
    job = Job((Task(save(tmp_path / "a.png")),), "thing", FEW, "places", "v1")
    [answer] = worker(orjson.loads(orjson.dumps(job.to_json())))
    labels = sorted((segment["box"][0], segment["label"]) for segment in answer["segments"])
    assert [label for _, label in labels] == ["left", "left", "thing", "thing"]
    assert asked == ["places"]


def test_automatic_masks_carry_the_label_box_area_and_score(tmp_path: Path) -> None:
    [photo] = annotate(Task(save(tmp_path / "a.png")))
    assert isinstance(photo, Annotated)
    assert photo.size == (100, 200)
    assert photo.version == "v1"
    assert len(photo.segments) == 4
    for segment in photo.segments:
        pixels = segment.pixels(photo.size)
        y, x = np.nonzero(pixels)
        assert segment.area == pixels.sum() > 0
        assert segment.box == (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
        assert segment.label == "thing"
        assert segment.score == pytest.approx(0.95)


def test_boxes_prompt_masks_of_their_class_best_score_first(tmp_path: Path) -> None:
    boxes = (Detection((20, 10, 40, 40), "cat", 0.3), Detection((100, 20, 50, 60), "dog", 0.8))
    [photo] = annotate(Task(save(tmp_path / "a.png"), boxes))
    assert isinstance(photo, Annotated)
    assert [(segment.label, segment.score) for segment in photo.segments] == [("dog", 0.8), ("cat", 0.3)]
    for segment, expected in zip(photo.segments, [(100, 20, 50, 60), (20, 10, 40, 40)], strict=True):
        assert segment.box == pytest.approx(expected, abs=1)


def test_a_box_without_a_score_gets_that_of_its_mask(tmp_path: Path) -> None:
    [photo] = annotate(Task(save(tmp_path / "a.png"), (Detection((20, 10, 40, 40), "cat", None),)))
    assert isinstance(photo, Annotated)
    assert photo.segments[0].score == pytest.approx(0.95)


def test_scores_of_boxes_and_of_all_masks_become_chances_of_their_own(tmp_path: Path) -> None:
    prompted, automatic = (Calibration(kind="logistic", chances=(chance, chance)) for chance in (0.3, 0.6))
    worker = replace(WORKER, chances=Chances(prompted=prompted, automatic=automatic))
    path = save(tmp_path / "a.png")
    boxes = (Detection((20, 10, 40, 40), "cat", None), Detection((20, 10, 40, 40), "dog", 0.2))
    photos = annotate(Task(path), Task(path, boxes), worker=worker)
    assert [[segment.score for segment in photo.segments] for photo in photos] == [[0.6] * 4, [0.3, 0.2]]


def test_a_box_outside_the_photo_is_told_and_the_others_done(tmp_path: Path) -> None:
    boxes = (Detection((300, 10, 40, 40), "cat", None), Detection((190, 90, 40, 40), "dog", None))
    [photo] = annotate(Task(save(tmp_path / "a.png"), boxes))
    assert isinstance(photo, Annotated)
    assert photo.problems == ("The box 300, 10, 40, 40 (cat) holds nothing of the photo.",)
    assert photo.segments[0].box == pytest.approx((190, 90, 10, 10), abs=1)


def test_no_boxes_are_no_segments(tmp_path: Path) -> None:
    [photo] = annotate(Task(save(tmp_path / "a.png"), ()))
    assert isinstance(photo, Annotated)
    assert photo.segments == ()


def test_one_bad_photo_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "cut.png").write_bytes(Path(save(tmp_path / "whole.png")).read_bytes()[:100])
    (tmp_path / "heavy.png").write_bytes(b"0" * (1 << 20) + b"1")
    save(tmp_path / "huge.png", 1000, 101)
    bad = ["text.jpg", "empty.jpg", "cut.png", "heavy.png", "huge.png", "gone.jpg"]
    names = [*bad[:3], "whole.png", *bad[3:], "whole.png"]
    answers = annotate(*(Task(str(tmp_path / name)) for name in names))
    assert [isinstance(answer, Annotated) for answer in answers] == [name == "whole.png" for name in names]
    reasons = dict(zip(names, answers, strict=True))
    assert "no image" in str(reasons["text.jpg"])
    assert "empty" in str(reasons["empty.jpg"])
    assert "damaged" in str(reasons["cut.png"])
    assert "more than 1,048,576 bytes" in str(reasons["heavy.png"])
    assert "1000 x 101 pixels" in str(reasons["huge.png"])
    assert "no such file" in str(reasons["gone.jpg"])


def test_a_name_of_any_bytes_crosses_the_queue(tmp_path: Path) -> None:
    name = str(tmp_path / os.fsdecode("naïve % \n☃.png".encode() + b"\xff"))
    save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(name)
    [photo] = annotate(Task(name))
    assert isinstance(photo, Annotated)


def test_a_photo_that_breaks_the_engine_is_skipped_and_those_encoded_with_it_are_not(tmp_path: Path) -> None:
    class Picky(StubEngine):
        def encode(self, images: object) -> list[Embedding]:
            assert isinstance(images, list)
            if any(image.shape[0] == 13 for image in images):
                raise ZeroDivisionError("thirteen")
            return super().encode(images)

    tasks = [Task(save(tmp_path / f"{height}.png", height=height)) for height in (12, 13, 14)]
    answers = annotate(*tasks, worker=Worker(Picky(), 1 << 20, 100_000, "v1"))
    assert [isinstance(answer, Annotated) for answer in answers] == [True, False, True]
    assert "thirteen" in str(answers[1])


def test_a_lost_gpu_is_no_reason_to_skip_a_photo(tmp_path: Path) -> None:
    class Lost(StubEngine):
        def encode(self, images: object) -> list[Embedding]:
            raise RuntimeError("CUDA error: unspecified launch failure")

    with pytest.raises(RuntimeError, match="CUDA error"):
        annotate(Task(save(tmp_path / "a.png")), worker=Worker(Lost(), 1 << 20, 100_000, "v1"))
