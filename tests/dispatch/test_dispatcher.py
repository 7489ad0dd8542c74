"""Submitting jobs and waiting for them, with a real Redis and real workers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq.job import Job

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Cancelled, Json, Replaced, Ticket
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import JobQueue, QueueName, connect
from maskloop.dispatch.supervisor import Supervisor
from maskloop.errors import (
    BadRequest,
    DeadlineExceeded,
    ImageRefused,
    MaskloopError,
    QueueFull,
    QueueUnavailable,
    WeightsError,
)

CLICKS = QueueName.INTERACTIVE
StartWorkers = Callable[..., Supervisor]


def click(dispatcher: Dispatcher, kind: str, payload: Json = None, *, deadline: float = 20.0, **options: Any) -> Ticket:
    return dispatcher.submit(kind, payload, queue=CLICKS, deadline=deadline, **options)


def occupy(dispatcher: Dispatcher, redis: Redis) -> Ticket:
    """Keeps the one worker busy until :func:`let_go`."""
    ticket = click(dispatcher, "hold", "first")
    assert redis.blpop(["began"], timeout=10)
    return ticket


def let_go(redis: Redis, name: str = "first") -> None:
    redis.rpush(f"let go {name}", 1)


def ran(redis: Redis) -> list[str]:
    return [name.decode() for name in redis.lrange("ran", 0, -1)]  # type: ignore[union-attr]


def test_a_job_is_answered(dispatcher: Dispatcher, start_workers: StartWorkers) -> None:
    start_workers()
    payload = {"task": {"id": 7, "data": {"image": "/data/upload/1/ü.jpg"}}, "context": None}
    assert dispatcher.wait(click(dispatcher, "echo", payload)) == payload


def test_a_handlers_error_is_raised_again(dispatcher: Dispatcher, start_workers: StartWorkers) -> None:
    start_workers()
    with pytest.raises(ImageRefused, match=r"http://10.0.0.1 lies outside. Allow it."):
        dispatcher.wait(click(dispatcher, "refuse", "http://10.0.0.1 lies outside."))


@pytest.mark.parametrize("kind", ["stumble", "unserializable"])
def test_a_fault_in_a_handler_keeps_its_details_in_the_log(
    dispatcher: Dispatcher, start_workers: StartWorkers, kind: str
) -> None:
    start_workers()
    with pytest.raises(MaskloopError, match="details of job") as caught:
        dispatcher.wait(click(dispatcher, kind, "secret"))
    assert caught.value.code == "internal"
    assert "secret" not in str(caught.value)
    assert dispatcher.wait(click(dispatcher, "echo", "the worker goes on")) == "the worker goes on"


def test_a_kind_without_a_handler_is_refused(dispatcher: Dispatcher, start_workers: StartWorkers) -> None:
    start_workers()
    with pytest.raises(BadRequest, match="no handler for 'levitate'"):
        dispatcher.wait(click(dispatcher, "levitate"))


def test_without_redis_a_click_is_told_so(tmp_path: Path) -> None:
    nowhere = Dispatcher(connect(f"unix://{tmp_path}/none.sock"), {})
    with pytest.raises(QueueUnavailable, match="Start Redis"):
        click(nowhere, "echo")


def test_without_a_worker_a_click_is_told_so(dispatcher: Dispatcher, redis: Redis) -> None:
    with pytest.raises(QueueUnavailable, match="maskloop worker --queue interactive"):
        click(dispatcher, "echo", deadline=0.2)
    assert overview(redis)[CLICKS].waiting == 0


def test_a_click_waits_for_a_worker_that_is_on_its_way(dispatcher: Dispatcher, start_workers: StartWorkers) -> None:
    with ThreadPoolExecutor() as pool:
        ticket = pool.submit(partial(click, dispatcher, "echo", 1, patience=20.0))
        start_workers()
        assert dispatcher.wait(ticket.result()) == 1


def test_what_keeps_the_worker_from_starting_is_told(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    start_workers(build="without weights", wait=False)
    until(lambda: overview(redis)[CLICKS].failure and not overview(redis)[CLICKS].workers)
    with pytest.raises(WeightsError, match="maskloop weights fetch"):
        click(dispatcher, "echo")


def test_a_click_waits_while_the_worker_loads_its_model(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    start_workers(build="slow", wait=False)
    until(lambda: overview(redis)[CLICKS].workers)
    assert overview(redis)[CLICKS].workers[0].state == "starting"
    ticket = click(dispatcher, "echo", 1)
    redis.rpush("build", 1)
    assert dispatcher.wait(ticket) == 1


def test_a_full_queue_says_so(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers()
    occupy(dispatcher, redis)
    waiting = [click(dispatcher, "echo", number) for number in range(8)]
    with pytest.raises(QueueFull, match="8 jobs wait"):
        click(dispatcher, "echo", "one too many")
    let_go(redis)
    assert [dispatcher.wait(ticket) for ticket in waiting] == list(range(8))


def test_a_newer_click_replaces_an_older_one_that_waits(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    occupy(dispatcher, redis)
    older = click(dispatcher, "echo", "older", key="task 1")
    other = click(dispatcher, "echo", "of another task", key="task 2")
    newer = click(dispatcher, "echo", "newer", key="task 1")
    with pytest.raises(Replaced, match="newer click"):
        dispatcher.wait(older)
    let_go(redis)
    assert dispatcher.wait(newer) == "newer"
    assert dispatcher.wait(other) == "of another task"
    assert sorted(ran(redis)) == ["newer", "of another task"]


def test_a_click_that_is_being_answered_is_not_replaced(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    running = click(dispatcher, "hold", "first", key="task 1")
    assert redis.blpop(["began"], timeout=10)
    newer = click(dispatcher, "echo", "newer", key="task 1")
    let_go(redis)
    assert dispatcher.wait(running) == "first"
    assert dispatcher.wait(newer) == "newer"


def test_a_joined_job_is_done_once(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers()
    occupy(dispatcher, redis)
    first = click(dispatcher, "echo", "task 1", key="task 1", on_same_key="join")
    second = click(dispatcher, "echo", "task 1", key="task 1", on_same_key="join")
    assert second.id == first.id
    let_go(redis)
    assert dispatcher.wait(first) == dispatcher.wait(second) == "task 1"
    again = click(dispatcher, "echo", "task 1", key="task 1", on_same_key="join")
    assert again.id != first.id
    assert dispatcher.wait(again) == "task 1"
    assert ran(redis) == ["task 1", "task 1"]


@pytest.mark.parametrize("deadline", [20.0, None])
def test_which_job_has_a_key_is_forgotten_in_time(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, deadline: float | None
) -> None:
    start_workers()
    dispatcher.submit("echo", 1, queue=CLICKS, deadline=deadline, key="task 1", on_same_key="join")
    assert redis.ttl(JobQueue(CLICKS, redis).latest_key("task 1")) > 0  # type: ignore[operator]


def test_of_many_jobs_at_once_each_is_taken_on_or_told_why_not(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    def submit(count: int) -> list[Ticket | MaskloopError]:
        return dispatcher.submit_all("echo", [(f"{n}", n) for n in range(count)], queue=CLICKS)

    assert [type(outcome) for outcome in submit(2)] == [QueueUnavailable] * 2
    start_workers()
    click(dispatcher, "hold", "held")
    assert redis.blpop(["began"], timeout=10)
    outcomes = submit(10)
    assert [type(outcome) for outcome in outcomes] == [Ticket] * 8 + [QueueFull] * 2
    assert submit(8) == outcomes[:8]
    redis.rpush("let go held", 1)
    assert [dispatcher.wait(ticket) for ticket in outcomes[:8]] == list(range(8))  # type: ignore[arg-type]


def test_it_can_be_asked_whether_a_keys_job_will_give_a_result(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    held = click(dispatcher, "hold", "held", key="held")
    waiting = click(dispatcher, "refuse", "No.", key="waiting")
    assert (dispatcher.lost("held", CLICKS), dispatcher.lost("waiting", CLICKS)) == (None, None)
    redis.rpush("let go held", 1)
    with pytest.raises(ImageRefused):
        dispatcher.wait(waiting)
    assert isinstance(dispatcher.lost("waiting", CLICKS), ImageRefused)
    redis.delete(Job.key_for(held.id), f"rq:results:{held.id}")
    assert isinstance(dispatcher.lost("held", CLICKS), QueueUnavailable)
    assert isinstance(dispatcher.lost("none", CLICKS), QueueUnavailable)


def test_a_job_past_its_deadline_is_not_run(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    start_workers()
    first = occupy(dispatcher, redis)
    late = click(dispatcher, "echo", "late", deadline=0.2)
    with pytest.raises(DeadlineExceeded, match="in time"):
        dispatcher.wait(late)
    assert overview(redis)[CLICKS].waiting == 0
    unwatched = click(dispatcher, "echo", "unwatched", deadline=0.2)
    until(lambda: unwatched.remaining() < 0)
    let_go(redis)
    dispatcher.wait(first)
    dispatcher.wait(click(dispatcher, "echo", "in time"))
    assert ran(redis) == ["in time"]


def test_who_waited_too_long_is_not_told_that_there_is_no_worker(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    occupy(dispatcher, redis)
    late = click(dispatcher, "echo", "late", deadline=1)
    redis.delete(Job.key_for(late.id))  # as it goes by itself, a moment before the deadline or after
    with pytest.raises(DeadlineExceeded, match="in time"):
        dispatcher.wait(late)
    let_go(redis)


def test_a_job_that_runs_past_its_deadline_is_interrupted(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    with pytest.raises(DeadlineExceeded):
        dispatcher.wait(click(dispatcher, "hang", deadline=1))
    assert dispatcher.wait(click(dispatcher, "echo", "the worker is free again")) == "the worker is free again"


def test_a_job_without_a_deadline_may_have_so_much_time_from_its_start(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    first = occupy(dispatcher, redis)
    (late,) = dispatcher.submit_all("alarm", [("late", None)], queue=CLICKS, run_limit=20)
    (slow,) = dispatcher.submit_all("hang", [("slow", None)], queue=CLICKS, run_limit=1)
    assert isinstance(late, Ticket)
    assert isinstance(slow, Ticket)
    let_go(redis)
    dispatcher.wait(first)
    assert 19 < dispatcher.wait(late) <= 20
    with pytest.raises(DeadlineExceeded, match="longer than 1 s"):
        dispatcher.wait(slow)


def test_what_a_job_waited_is_taken_from_its_deadline(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    start_workers()
    occupy(dispatcher, redis)
    ticket = click(dispatcher, "alarm", deadline=20)
    until(lambda: ticket.remaining() < 19)
    let_go(redis)
    assert 0 < dispatcher.wait(ticket) <= 19


def test_one_may_wait_less_than_the_deadline(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers()
    ticket = occupy(dispatcher, redis)
    with pytest.raises(TimeoutError):
        dispatcher.wait(ticket, timeout=0.05)
    let_go(redis)
    assert dispatcher.wait(ticket) == "first"


def test_who_waits_learns_that_the_last_worker_went_away(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskloop.dispatch.dispatcher.PATIENCE", 2)
    supervisor = start_workers()
    occupy(dispatcher, redis)
    ticket = click(dispatcher, "echo", deadline=60)
    redis.delete("rq:queue:interactive")
    let_go(redis)
    supervisor.stop()
    with pytest.raises(QueueUnavailable, match="No interactive worker"):
        dispatcher.wait(ticket)
    assert ticket.remaining() > 30


def test_a_waiting_job_can_be_cancelled(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers()
    first = occupy(dispatcher, redis)
    ticket = click(dispatcher, "echo", "cancelled")
    dispatcher.cancel(first, ticket)
    with pytest.raises(Cancelled):
        dispatcher.wait(ticket)
    let_go(redis)
    assert dispatcher.wait(first) == "first", "what runs is only told so"
    assert ran(redis) == []


def test_a_long_job_tells_how_far_it_is_and_can_be_cancelled(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    start_workers(queue=QueueName.TRAIN)
    ticket = dispatcher.submit("long", 1000, queue=QueueName.TRAIN, deadline=None)
    assert redis.blpop(["began"], timeout=10)
    redis.rpush("step", 1)
    until(lambda: doing(redis).startswith("step"))
    dispatcher.cancel(ticket)
    with pytest.raises(Cancelled):
        dispatcher.wait(ticket)
    until(lambda: not doing(redis))


def doing(redis: Redis) -> str:
    (worker,) = overview(redis)[QueueName.TRAIN].workers
    return str(worker.report["doing"])


def test_many_wait_at_once(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers(queue=QueueName.BATCH)
    with ThreadPoolExecutor(150) as pool:
        tickets = [
            dispatcher.submit("echo", number, queue=QueueName.BATCH, deadline=60, key=str(number), on_same_key="join")
            for number in range(150)
        ]
        assert list(pool.map(dispatcher.wait, tickets)) == list(range(150))
