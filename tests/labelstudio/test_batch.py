"""Batches, with a real Redis and real worker processes."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from labelstudio.disc_worker import DEADLY
from labelstudio.discs import EVERYTHING, MISSING, task
from labelstudio.fake_label_studio import FakeLabelStudio
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName, connect
from maskloop.errors import Abandoned, QueueFull, QueueUnavailable
from maskloop.labelstudio import batch
from maskloop.labelstudio.batch import Batches
from maskloop.labelstudio.courier import Courier
from maskloop.labelstudio.handlers import payload_of
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.troubles import Troubles
from maskloop.labelstudio.wire import Task

VERSION = "model-1"
Make = Callable[..., Any]


@pytest.fixture
def ledger(redis: Redis) -> Ledger:
    return Ledger(redis)


@pytest.fixture
def batches(redis_server: str, ledger: Ledger) -> Make:
    def make(deadline: float = 30.0, *, delivers: bool = True, most: int = 1000) -> Batches:
        dispatcher = Dispatcher(connect(redis_server), {QueueName.BATCH: most})
        return Batches(dispatcher, ledger, deadline=deadline, delivers=delivers)

    return make


@pytest.fixture
def label_studio() -> FakeLabelStudio:
    return FakeLabelStudio()


@pytest.fixture
def courier(ledger: Ledger, dispatcher: Dispatcher, label_studio: FakeLabelStudio, redis: Redis) -> Courier:
    return Courier(ledger, dispatcher, label_studio.api(), Troubles(redis))


def wanted(*tasks: dict[str, Any], project: int | None = 7) -> list[dict[str, Any]]:
    options = Options(outputs=("rectangle",))
    return [payload_of(project, Task.read(one), EVERYTHING, options, VERSION) for one in tasks]


def versions(results: list[Any]) -> list[str]:
    return [result["model_version"] if result else "later" for result in results]


def deliver(count: int, courier: Courier, until: Make) -> None:
    """Until so many are delivered."""
    delivered = 0

    def all_delivered() -> bool:
        nonlocal delivered
        delivered += courier.deliver_due()
        return delivered == count

    until(all_delivered)


def test_what_is_ready_in_time_is_answered_in_task_order(start_discs: Make, batches: Make) -> None:
    start_discs(go=3)
    results = batches().predict(wanted(task(3), task(1), task(2)))
    assert versions(results) == [VERSION] * 3
    assert all(len(result["result"]) == 3 for result in results)


def test_a_bad_image_is_told_and_spoils_no_other(start_discs: Make, batches: Make, ledger: Ledger) -> None:
    start_discs(go=3)
    results = batches().predict(wanted(task(1), task(2, MISSING), {"id": 3, "data": {}}, task(4)))
    assert versions(results) == [
        VERSION,
        "model-1 failed: There is no image at … (404)",
        "model-1 failed: The task's data has no image for <Image name='image' value='$image'>",
        VERSION,
    ]
    assert [len(result["result"]) for result in results] == [3, 0, 0, 3]
    assert [(failure["project"], failure["task"]) for failure in ledger.failures()] == [(7, 3), (7, 2)]
    assert "label.example/data/upload/1/missing.jpg" in ledger.failures()[1]["reason"]


def test_what_is_late_is_left_out_and_delivered_once(
    start_discs: Callable,
    batches: Callable,
    courier: Courier,
    label_studio: FakeLabelStudio,
    redis: Redis,
    until: Callable,
) -> None:
    start_discs(go=2)
    results = batches(deadline=2.0).predict(wanted(*[task(number) for number in range(1, 7)]))
    assert versions(results) == [VERSION, VERSION, "later", "later", "later", "later"]
    assert results[2:] == [[], [], [], []]
    redis.lpush("go", *["1"] * 4)
    deliver(4, courier, until)
    assert courier.deliver_due() == 0
    assert [label_studio.versions(number) for number in range(1, 7)] == [[], []] + [[VERSION]] * 4


def test_what_redis_lost_is_not_promised(start_discs: Make, batches: Make, redis: Redis, until: Callable) -> None:
    start_discs()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(batches(deadline=2.0).predict, wanted(task(1), task(2)))
        until(lambda: redis.llen("rq:queue:batch") == 1)
        redis.flushall()
        assert versions(asked.result()) == ["model-1 failed: Redis lost the task"] * 2


def test_a_late_failure_is_delivered_too(
    start_discs: Callable,
    batches: Callable,
    courier: Courier,
    label_studio: FakeLabelStudio,
    redis: Redis,
    until: Callable,
) -> None:
    start_discs()
    assert batches(deadline=1.0).predict(wanted(task(1), task(2, MISSING))) == [[], []]
    redis.lpush("go", "1", "1")
    until(lambda: courier.deliver_due() + len(label_studio.of(2)))
    assert label_studio.versions(2) == ["model-1 failed: There is no image at … (404)"]


def test_a_task_that_failed_is_tried_again_and_the_outcome_takes_the_failures_place(
    start_discs: Make, batches: Make, courier: Courier, label_studio: FakeLabelStudio, until: Make
) -> None:
    start_discs(go=4)
    bad, good = task(1, MISSING), task(2)
    [failed, *_] = batches().predict(wanted(bad))
    label_studio.store(1, failed)
    label_studio.store(2, {**failed, "model_version": "model-1 failed: Redis is full"})
    stored = [set(label_studio.versions(1)), set(label_studio.versions(2))]
    assert batches().predict(wanted(bad, good), stored) == [[], []]
    deliver(2, courier, until)
    assert label_studio.versions(1) == [failed["model_version"]]
    assert label_studio.versions(2) == [VERSION]


def test_without_a_courier_the_same_failure_is_not_stored_twice(start_discs: Make, batches: Make) -> None:
    start_discs(go=2)
    alone = batches(delivers=False)
    [failed] = alone.predict(wanted(task(1, MISSING)))
    assert alone.predict(wanted(task(1, MISSING)), [{failed["model_version"]}]) == [[]]


def test_a_second_retrieval_while_the_first_runs_does_not_double(
    start_discs: Make, batches: Make, redis: Redis
) -> None:
    start_discs()
    tasks = wanted(*[task(number) for number in range(1, 9)])
    answers: list[list[Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(batches().predict(tasks))) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert redis.blpop(["began"], timeout=20)
    redis.lpush("go", *["1"] * 8)
    for thread in threads:
        thread.join()
    for first, second in zip(*answers, strict=True):
        assert sorted([bool(first), bool(second)]) == [False, True]
    assert redis.llen("began") == 7


def test_a_task_that_somebody_opens_is_not_waited_for_behind_a_batch(
    start_discs: Make, batches: Make, courier: Courier, label_studio: FakeLabelStudio, redis: Redis, until: Make
) -> None:
    start_discs()
    assert batches(deadline=1.0).predict(wanted(task(1), task(2))) == [[], []]
    assert batches(deadline=3600.0).predict(wanted(task(3))) == [[]]
    redis.lpush("go", *["1"] * 3)
    until(lambda: courier.deliver_due() + len(label_studio.of(3)))


def test_what_was_late_for_one_request_is_ready_for_the_next(
    start_discs: Make, batches: Make, ledger: Ledger, redis: Redis, until: Make
) -> None:
    start_discs()
    assert batches(deadline=1.0).predict(wanted(task(1))) == [[]]
    redis.lpush("go", "1")
    until(lambda: ledger.tallies()[7].ready)
    assert versions(batches().predict(wanted(task(1)))) == [VERSION]


@pytest.mark.parametrize("delivers", [True, False])
def test_what_nobody_waits_for_any_more_is_not_answered_to_nobody(
    start_discs: Make, batches: Make, ledger: Ledger, redis: Redis, until: Make, delivers: bool
) -> None:
    start_discs(go=1)
    stop = threading.Event()
    tasks = wanted(task(1), task(2), {"data": task()["data"]})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(batches(delivers=delivers).predict, tasks, stop=stop)
        until(lambda: redis.llen("began") == 2)
        stop.set()
        with pytest.raises(Abandoned):
            asked.result(timeout=10)
    redis.lpush("go", "1")
    until(lambda: ledger.tallies()[7].ready == 2)
    assert ledger.tallies()[7].answered == 0
    assert ledger.tallies()[0].waiting == 0


def test_without_a_token_what_is_late_says_so_and_leaves_no_work_behind(
    start_discs: Make, batches: Make, ledger: Ledger, redis: Redis
) -> None:
    """Though it is another's request for the same tasks that ran out of time first."""
    start_discs()
    with ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(batches(deadline=limit, delivers=False).predict, wanted(task(1), task(2)))
            for limit in (1.0, 1.5)
        ]
    for request, limit in zip(asked, ("1", "1.5"), strict=True):
        for version in versions(request.result()):
            assert version.startswith(f"model-1 failed: Not ready within {limit} s")
    assert overview(redis)[QueueName.BATCH].waiting == 0
    assert ledger.tallies()[7].waiting == 0


def test_a_worker_that_dies_of_a_task_twice_fails_that_task_alone(
    start_discs: Make, batches: Make, courier: Courier, label_studio: FakeLabelStudio, until: Make
) -> None:
    start_discs(go=3)
    assert versions(batches(deadline=1.0).predict(wanted(task(1, DEADLY), task(2)))) == ["later", "later"]

    def both_delivered() -> bool:
        courier.find_lost()
        courier.deliver_due()
        return bool(label_studio.of(1) and label_studio.of(2))

    until(both_delivered, timeout=60)
    assert label_studio.versions(1)[0].startswith("model-1 failed: The worker died")
    assert label_studio.versions(2) == [VERSION]


def test_a_request_that_waits_is_told_of_such_a_death(start_discs: Make, batches: Make) -> None:
    start_discs(go=3)
    first, second = batches(deadline=60).predict(wanted(task(1, DEADLY), task(2)))
    assert first["model_version"].startswith("model-1 failed: The worker died")
    assert second["model_version"] == VERSION


def test_tasks_that_are_not_in_label_studio_are_answered_or_told(start_discs: Make, batches: Make) -> None:
    start_discs(go=1)
    unsaved = {"data": task()["data"]}
    first, second = batches(deadline=2.0).predict(wanted(unsaved, unsaved, project=None))
    assert first["model_version"] == VERSION
    assert second["model_version"].startswith("model-1 failed: Not ready")


def test_without_a_worker_the_request_is_refused(batches: Make, ledger: Ledger) -> None:
    with pytest.raises(QueueUnavailable, match="No batch worker"):
        batches().predict(wanted(task(1), task(2)))
    assert ledger.tallies()[7].waiting == 0


def test_what_the_queue_does_not_take_is_told(start_discs: Make, batches: Make, redis: Redis) -> None:
    start_discs()
    many = wanted(*[task(number) for number in range(1, 7)])
    results = batches(deadline=1.0, most=3).predict(many)
    assert versions(results)[-1].startswith("model-1 failed: 3 jobs wait in the batch queue already")
    with pytest.raises(QueueFull):
        batches(deadline=1.0, most=2).predict(wanted(task(99)))


def test_what_there_is_no_time_to_collect_is_left_to_a_courier(
    start_discs: Make,
    dispatcher: Dispatcher,
    courier: Courier,
    label_studio: FakeLabelStudio,
    redis: Redis,
    until: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Ledger):
        def claim(self, entries: Any, batch: int) -> Any:
            until(lambda: time.time() > end)
            return super().claim(entries, batch)

    monkeypatch.setattr(batch, "CHUNK", 1)
    start_discs(go=2)
    batches = Batches(dispatcher, Slow(redis), deadline=3.0, delivers=True)
    end = time.time() + 3.5
    assert versions(batches.predict(wanted(task(1), task(2)))) == [VERSION, "later"]
    deliver(1, courier, until)
    assert label_studio.versions(2) == [VERSION]


def test_the_queue_carries_references_and_no_predictions(start_discs: Make, batches: Make, redis: Redis) -> None:
    start_discs(go=1)
    batches().predict(wanted(task(1)))
    results = [redis.xrange(key) for key in redis.scan_iter("rq:results:*")]
    assert max(len(json.dumps(str(result))) for result in results) < 500


def test_1200_tasks_end_pre_annotated_or_failed_none_twice(
    start_discs: Callable,
    batches: Callable,
    courier: Courier,
    label_studio: FakeLabelStudio,
    redis: Redis,
    until: Callable,
) -> None:
    start_discs(go=1200)
    tasks = [task(number, MISSING if number % 100 == 0 else "/data/upload/1/a.jpg") for number in range(1, 1201)]
    results = batches(deadline=4.0, most=2000).predict(wanted(*tasks))
    assert len(results) == 1200
    for one, result in zip(tasks, results, strict=True):
        if result:
            label_studio.store(one["id"], result)
    assert sum(map(bool, results)) > 0

    def all_there() -> bool:
        courier.deliver_due()
        return len(label_studio.predictions) >= 1200

    until(all_there, timeout=200)
    for one in tasks:
        (version,) = label_studio.versions(one["id"])
        assert version.startswith("model-1 failed") == (one["id"] % 100 == 0)
