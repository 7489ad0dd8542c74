"""Training is ordered when there is something new, and never twice at once for a project."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.errors import QueueUnavailable
from maskloop.learning.orders import REST, Follower, Order, order_all, submit
from maskloop.learning.spool import FeedbackUnavailable
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


def review(store: FeedbackStore, project: int, *regions: dict[str, object]) -> None:
    found = {"id": project, "task": project, "project": project, "result": list(regions)}
    seen = {"id": project, "project": project, "data": {}}
    about = {"id": project}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": about})


def test_a_project_waits_for_training_once(trainer: None, dispatcher: Dispatcher, redis: Redis) -> None:
    first, again, other = (submit(dispatcher, Order(project=number)) for number in (1, 1, 2))
    assert first.id == again.id != other.id
    assert overview(redis)[QueueName.TRAIN].waiting == 2


def test_projects_with_new_reviews_are_followed_whoever_brought_them_in(sqlite_store: FeedbackStore) -> None:
    done: list[tuple[str, int]] = []
    steps = [lambda project: done.append(("fit", project)), lambda project: done.append(("train", project))]
    review(sqlite_store, 3)
    sqlite_store.process_pending()
    follower = Follower(sqlite_store, steps, clock=lambda: 0.0)
    follower.round()
    assert sorted(done) == [("fit", 3), ("train", 3)]
    review(sqlite_store, 4)
    sqlite_store.process_pending()
    done.clear()
    follower.round()
    follower.round()
    assert sorted(done) == [("fit", 4), ("train", 4)]


@pytest.mark.parametrize("failure", [QueueUnavailable("No worker."), OSError("No space left on device")])
def test_what_fails_for_a_project_is_done_again_and_does_not_hold_up_the_rest(
    sqlite_store: FeedbackStore, failure: Exception
) -> None:
    done: list[int] = []
    down = True

    def submit(project: int) -> None:
        if project == 3 and down:
            raise failure
        done.append(project)

    review(sqlite_store, 3)
    review(sqlite_store, 4)
    follower = Follower(sqlite_store, [submit], clock=lambda: 0.0)
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as raised:
            follower.round()
        assert raised.value.exceptions == (failure,)
    assert done == [4]
    down = False
    follower.round()
    follower.round()
    assert done == [4, 3]


def test_a_large_project_is_looked_at_less_often_than_a_small_one(sqlite_store: FeedbackStore) -> None:
    done: list[int] = []
    now = 0.0

    def look(project: int) -> None:
        nonlocal now
        done.append(project)
        if project == 3:
            now += 1.0
            raise QueueUnavailable("No worker.")

    follower = Follower(sqlite_store, [look], clock=lambda: now)
    review(sqlite_store, 3)
    with pytest.raises(ExceptionGroup):
        follower.round()
    review(sqlite_store, 4)
    with pytest.raises(ExceptionGroup):
        follower.round()
    assert done == [3, 4]
    now = REST
    with pytest.raises(ExceptionGroup):
        follower.round()
    assert done == [3, 4, 3]


def test_a_database_that_is_away_is_told_of_in_the_same_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many events wait: who repeats no error doesn't repeat this one."""
    store = FeedbackStore.open(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    follower = Follower(store, [])
    said = set()
    for project in (3, 4):
        review(store, project)
        with pytest.raises(FeedbackUnavailable) as raised:
            follower.round()
        said.add(str(raised.value))
    assert len(said) == 1
    assert not caplog.records


def test_a_schedule_orders_every_project_with_something_to_learn(
    trainer: None, dispatcher: Dispatcher, redis: Redis, sqlite_store: FeedbackStore, tmp_path: Path
) -> None:
    registry = registry_of(Settings(data_dir=tmp_path))
    for project in (3, 4):
        review(sqlite_store, project, OUTLINE)
    review(sqlite_store, 5)
    order_all(sqlite_store, registry, dispatcher)
    order_all(sqlite_store, registry, dispatcher)
    assert overview(redis)[QueueName.TRAIN].waiting == 2


def test_without_a_worker_that_trains_the_order_is_refused(dispatcher: Dispatcher) -> None:
    with pytest.raises(QueueUnavailable):
        submit(dispatcher, Order(project=1))
