"""Training is ordered when there is something new, and never twice at once for a project."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import WorkerLost
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.errors import QueueUnavailable
from maskloop.learning.orders import check_trainings, order_all, submit
from maskloop.learning.store import FeedbackStore
from maskloop.learning.versions import registry_of
from maskloop.settings import Settings

OUTLINE = {
    "id": "r",
    "type": "polygonlabels",
    "from_name": "polygon",
    "value": {"points": [[10, 10], [40, 10], [40, 40]], "polygonlabels": ["Dog"]},
    "original_width": 100,
    "original_height": 80,
}


@pytest.fixture
def trainer(redis: Redis, start_workers: Callable[..., object], until: Callable[..., None]) -> None:
    """A worker for training that hasn't begun to work."""
    start_workers(1, QueueName.TRAIN, "slow", wait=False)
    until(lambda: overview(redis)[QueueName.TRAIN].workers)


def test_a_project_waits_for_training_once(trainer: None, dispatcher: Dispatcher, redis: Redis) -> None:
    first, again, other = (submit(dispatcher, number) for number in (1, 1, 2))
    assert first.id == again.id != other.id
    assert overview(redis)[QueueName.TRAIN].waiting == 2


def test_a_schedule_orders_every_project_with_something_to_learn(
    trainer: None,
    dispatcher: Dispatcher,
    redis: Redis,
    sqlite_store: FeedbackStore,
    tmp_path: Path,
    review: Callable[..., None],
) -> None:
    registry = registry_of(Settings(data_dir=tmp_path))
    for project in (3, 4):
        review(sqlite_store, project, OUTLINE)
    review(sqlite_store, 5)
    order_all(sqlite_store, registry, dispatcher)
    order_all(sqlite_store, registry, dispatcher)
    assert overview(redis)[QueueName.TRAIN].waiting == 2


def test_a_training_that_died_with_its_worker_is_told(
    dispatcher: Dispatcher,
    start_workers: Callable[..., object],
    sqlite_store: FeedbackStore,
    review: Callable[..., None],
) -> None:
    for project in (3, 4):
        review(sqlite_store, project, OUTLINE)
    sqlite_store.process_pending()
    start_workers(1, QueueName.TRAIN)
    ticket = submit(dispatcher, 4)
    check_trainings(sqlite_store, dispatcher)
    with pytest.raises(WorkerLost):
        dispatcher.wait(ticket)
    with pytest.raises(ExceptionGroup) as told:
        check_trainings(sqlite_store, dispatcher)
    (error,) = told.value.exceptions
    assert "Training of project 4: the worker died, twice." in str(error)


def test_without_a_worker_that_trains_the_order_is_refused(dispatcher: Dispatcher) -> None:
    with pytest.raises(QueueUnavailable):
        submit(dispatcher, 1)
