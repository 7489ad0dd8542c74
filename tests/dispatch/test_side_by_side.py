"""A worker process that does several jobs side by side."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Ticket
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.dispatch.supervisor import Supervisor
from maskloop.errors import DeadlineExceeded

CLICKS = QueueName.INTERACTIVE
NAMES = ["first", "second", "third"]
StartWorkers = Callable[..., Supervisor]


@pytest.fixture
def supervisor(start_workers: StartWorkers) -> Supervisor:
    return start_workers(build="three at once")


def held(dispatcher: Dispatcher, redis: Redis) -> list[Ticket]:
    """Three jobs under way, each until it is let go."""
    tickets = [dispatcher.submit("hold", name, queue=CLICKS, deadline=30) for name in NAMES]
    see_all_begin(redis)
    return tickets


def see_all_begin(redis: Redis) -> None:
    began = {redis.blpop(["began"], timeout=20)[1].decode() for _ in NAMES}  # type: ignore[index]
    assert began == {*NAMES}


def let_go(redis: Redis) -> None:
    for name in NAMES:
        redis.rpush(f"let go {name}", 1)


def test_as_many_jobs_run_at_once_and_each_is_answered(
    dispatcher: Dispatcher, redis: Redis, supervisor: Supervisor
) -> None:
    tickets = held(dispatcher, redis)
    states = [worker.state for worker in overview(redis)[CLICKS].workers]
    assert states == ["busy"] * 3
    assert redis.get("builds") == b"1", "one process, one model"
    let_go(redis)
    assert [dispatcher.wait(ticket) for ticket in tickets] == NAMES
    with ThreadPoolExecutor(8) as people:
        answers = people.map(
            lambda number: dispatcher.wait(dispatcher.submit("echo", number, queue=CLICKS, deadline=20)), range(60)
        )
        assert list(answers) == list(range(60))


def test_a_job_past_its_deadline_keeps_nobody_waiting(
    dispatcher: Dispatcher, redis: Redis, supervisor: Supervisor
) -> None:
    tickets = [dispatcher.submit("hold", name, queue=CLICKS, deadline=2) for name in NAMES[:2]]
    for _ in tickets:
        assert redis.blpop(["began"], timeout=10)
    for ticket in tickets:
        with pytest.raises(DeadlineExceeded):
            dispatcher.wait(ticket)
    assert dispatcher.wait(dispatcher.submit("echo", 1, queue=CLICKS, deadline=20)) == 1
    let_go(redis)
    assert supervisor.deaths == 0


def test_all_jobs_under_way_are_finished_before_it_stops(
    dispatcher: Dispatcher, redis: Redis, supervisor: Supervisor, until: Callable[..., None]
) -> None:
    tickets = held(dispatcher, redis)
    os.kill(supervisor.pids()["interactive-0"], signal.SIGTERM)
    let_go(redis)
    assert [dispatcher.wait(ticket) for ticket in tickets] == NAMES
    until(lambda: supervisor.deaths == 1)


def test_an_idle_one_stops_when_told_to(redis: Redis, supervisor: Supervisor, until: Callable[..., None]) -> None:
    pid = supervisor.pids()["interactive-0"]
    os.kill(pid, signal.SIGTERM)
    until(lambda: supervisor.deaths == 1)
    until(lambda: supervisor.pids().get("interactive-0", pid) != pid)


def test_none_of_its_jobs_is_lost_when_it_is_killed(
    dispatcher: Dispatcher, redis: Redis, supervisor: Supervisor
) -> None:
    tickets = held(dispatcher, redis)
    os.kill(supervisor.pids()["interactive-0"], signal.SIGKILL)
    see_all_begin(redis)
    let_go(redis)
    assert [dispatcher.wait(ticket) for ticket in tickets] == NAMES
