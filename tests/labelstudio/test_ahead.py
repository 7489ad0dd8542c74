"""Encoding ahead of clicks, with a real Redis and a real worker process."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from labelstudio.discs import EVERYTHING, task
from labelstudio.fake_label_studio import FakeLabelStudio
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.labelstudio.ahead import KEY, Ahead, Visit, Visits
from maskloop.labelstudio.batch import Batches
from maskloop.labelstudio.handlers import payload_of
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.wire import Task

BY_ID, BY_SCORE = "tasks:id", "tasks:predictions_score"
PROJECT = 7


@pytest.fixture
def label_studio() -> FakeLabelStudio:
    return FakeLabelStudio(
        tasks={BY_ID: [1, 2, 4, 5, 6], BY_SCORE: [6, 2, 1, 5, 4]},
        project={"label_config": EVERYTHING, "sampling": "Sequential sampling"},
    )


@pytest.fixture
def ahead(dispatcher: Dispatcher, redis: Redis, label_studio: FakeLabelStudio) -> Ahead:
    return Ahead(Visits(redis), dispatcher, label_studio.api(), version=lambda _: "v", count=3)


def encoded(redis: Redis) -> list[int]:
    names: Any = redis.lrange("encoded", 0, -1)
    return [int(name.decode().rpartition("/")[2].removesuffix(".jpg")) for name in names]


@pytest.mark.parametrize(
    ("sampling", "at", "expected"),
    [
        ("Sequential sampling", None, [1, 2, 4]),
        ("Sequential sampling", 2, [4, 5, 6]),
        ("Sequential sampling", 5, [6, 1, 2]),
        ("Uncertainty sampling", 2, [6, 2, 1]),
        ("Uniform sampling", 2, []),
    ],
)
def test_the_next_tasks_are_encoded_in_the_projects_order(
    start_discs: Callable[..., None],
    ahead: Ahead,
    label_studio: FakeLabelStudio,
    redis: Redis,
    until: Callable[..., None],
    sampling: str,
    at: int | None,
    expected: list[int],
) -> None:
    label_studio.project["sampling"] = sampling
    start_discs()
    assert ahead.encode_after(Visit(PROJECT, at)) == len(expected)
    until(lambda: len(encoded(redis)) == len(expected))
    assert sorted(encoded(redis)) == sorted(expected)


def test_the_last_tasks_of_a_random_order_are_known(
    start_discs: Callable[..., None], ahead: Ahead, label_studio: FakeLabelStudio
) -> None:
    label_studio.project["sampling"] = "Uniform sampling"
    label_studio.tasks[BY_ID] = [4, 6]
    start_discs()
    assert ahead.encode_after(Visit(PROJECT, 4)) == 2


def test_people_go_before_batches(
    start_discs: Callable[..., None],
    ahead: Ahead,
    dispatcher: Dispatcher,
    redis: Redis,
    until: Callable[..., None],
) -> None:
    start_discs()
    batches = Batches(dispatcher, Ledger(redis), deadline=0.5, delivers=True)
    options = Options(outputs=("rectangle",))
    wanted = [payload_of(PROJECT, Task.read(task(number)), EVERYTHING, options, "v") for number in range(10, 14)]
    assert batches.predict(wanted) == [[]] * 4
    ahead.encode_after(Visit(PROJECT, None))
    redis.lpush("go", "1")
    until(lambda: len(encoded(redis)) == 3)
    assert encoded(redis) == [1, 2, 4]
    began: Any = redis.llen("began")
    assert began <= 2


def test_where_people_are_is_told_once_in_order_and_old_news_are_forgotten(redis: Redis) -> None:
    visits = Visits(redis)
    for number in range(70):
        visits.note(Visit(PROJECT, number))
    assert [visits.next() for _ in range(64)] == [Visit(PROJECT, number) for number in range(6, 70)]
    assert visits.next() is None


def test_it_goes_on_after_a_project_that_is_gone(
    start_discs: Callable[..., None],
    ahead: Ahead,
    label_studio: FakeLabelStudio,
    redis: Redis,
    until: Callable[..., None],
) -> None:
    start_discs()
    visits, stop = Visits(redis), threading.Event()
    thread = threading.Thread(target=ahead.run, args=(stop,))
    thread.start()
    label_studio.status = 404
    visits.note(Visit(1, None))
    until(lambda: not redis.exists(KEY))
    label_studio.status = 200
    visits.note(Visit(PROJECT, None))
    until(lambda: len(encoded(redis)) == 3)
    stop.set()
    thread.join()
