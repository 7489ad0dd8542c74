"""In which order a training sees what it learns from."""

from __future__ import annotations

from collections import Counter
from typing import Any

from maskloop.learning.lessons import PROMPTS_AT_ONCE, batches, count_steps
from maskloop.learning.samples import Sample, Target
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.values import Embedding

NOTHING: Any = None


def photo(objects: int, views: int = 1) -> list[Sample]:
    embedding: Embedding = NOTHING
    return [Sample(embedding, tuple(Target(b"", NOTHING) for _ in range(objects))) for _ in range(views)]


def settings(epochs: int, prompts_per_step: int = 16) -> TrainingSettings:
    return TrainingSettings(epochs=epochs, prompts_per_step=prompts_per_step)


def test_a_photo_is_seen_as_it_is_twice_as_often_as_in_each_other_view() -> None:
    views = photo(1, views=3)
    seen = Counter(id(lesson.sample) for step in batches([views], settings(800)) for lesson in step)
    whole, *others = (seen[id(view)] for view in views)
    assert 340 < whole < 460
    assert all(140 < other < 260 for other in others)


def test_photos_come_in_another_order_each_epoch() -> None:
    photos = [photo(1) for _ in range(6)]
    orders = {tuple(id(lesson.sample) for lesson in step) for step in batches(photos, settings(5))}
    assert len(orders) == 5


def test_of_a_photo_with_many_objects_some_are_looked_at_at_once() -> None:
    steps = list(batches([photo(50)], settings(1, prompts_per_step=60)))
    assert max(len(lesson.targets) for step in steps for lesson in step) == PROMPTS_AT_ONCE
    assert len({id(target) for step in steps for lesson in step for target in lesson.targets}) == 50


def test_thousands_of_objects_take_no_more_than_so_many_steps() -> None:
    photos = [photo(8) for _ in range(10)]
    few, many = (settings(epochs).model_copy(update={"most_steps": 20}) for epochs in (3, 30))
    assert count_steps(photos, few) == len(list(batches(photos, few))) == 15
    assert count_steps(photos, many) == len(list(batches(photos, many))) == 20
