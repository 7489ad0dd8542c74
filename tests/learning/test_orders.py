"""Training is ordered when there is something new, and never twice at once for a project."""

from collections.abc import Callable

import pytest
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.errors import QueueUnavailable
from maskloop.learning.orders import Order, follow_reviews, order_all, submit
from maskloop.learning.store import FeedbackStore


@pytest.fixture
def trainer(redis: Redis, start_workers: Callable[..., object], until: Callable[..., None]) -> None:
    """A worker for training that hasn't begun to work."""
    start_workers(1, QueueName.TRAIN, "slow", wait=False)
    until(lambda: overview(redis)[QueueName.TRAIN].workers)


def review(store: FeedbackStore, project: int, *regions: dict[str, object]) -> None:
    found = {"id": project, "task": project, "project": project, "result": list(regions)}
    seen = {"id": project, "project": project, "data": {}}
    about = {"id": project}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": about})


def test_a_project_waits_for_training_once(trainer: None, dispatcher: Dispatcher, redis: Redis) -> None:
    first, again, other = (submit(dispatcher, Order(project=number)) for number in (1, 1, 2))
    assert first.id == again.id != other.id
    assert overview(redis)[QueueName.TRAIN].waiting == 2


def test_new_reviews_are_followed_by_training_of_their_projects(
    trainer: None, dispatcher: Dispatcher, redis: Redis, sqlite_store: FeedbackStore
) -> None:
    review(sqlite_store, 3)
    review(sqlite_store, 4)
    follow_reviews(sqlite_store, dispatcher, every=0)
    follow_reviews(sqlite_store, dispatcher, every=5)
    assert overview(redis)[QueueName.TRAIN].waiting == 0
    review(sqlite_store, 5)
    follow_reviews(sqlite_store, dispatcher, every=5)
    assert overview(redis)[QueueName.TRAIN].waiting == 1


def test_a_schedule_orders_every_project(
    trainer: None, dispatcher: Dispatcher, redis: Redis, sqlite_store: FeedbackStore
) -> None:
    review(sqlite_store, 3)
    review(sqlite_store, 4)
    order_all(sqlite_store, dispatcher)
    order_all(sqlite_store, dispatcher)
    assert overview(redis)[QueueName.TRAIN].waiting == 2


def test_without_a_worker_that_trains_the_order_is_refused(dispatcher: Dispatcher) -> None:
    with pytest.raises(QueueUnavailable):
        submit(dispatcher, Order(project=1))
