"""Processes are killed while work is under way, and nobody is left without an answer, or with another's."""

import os
import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.supervisor import Supervisor
from maskloop.errors import QueueUnavailable

CLICKS, BATCH = QueueName.INTERACTIVE, QueueName.BATCH
CLICK_DEADLINE = 10.0
StartWorkers = Callable[..., Supervisor]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_workers_click_is_answered_within_its_deadline(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, workers: int
) -> None:
    start_workers(workers)
    ticket = dispatcher.submit("hang", "answer", queue=CLICKS, deadline=CLICK_DEADLINE)
    first = redis.blpop(["began"], timeout=5)
    os.kill(int(first[1]), signal.SIGKILL)  # type: ignore[index]
    assert dispatcher.wait(ticket) == "answer"
    second = redis.blpop(["began"], timeout=5)
    assert first[1] != second[1]  # type: ignore[index]
    assert redis.llen("began") == 0


def test_a_killed_worker_of_another_machine_is_noticed_by_its_silence(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody here sees its process end."""
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    start_workers(2)
    ticket = dispatcher.submit("hang", "answer", queue=CLICKS, deadline=CLICK_DEADLINE)
    first = redis.blpop(["began"], timeout=5)
    os.kill(int(first[1]), signal.SIGKILL)  # type: ignore[index]
    assert dispatcher.wait(ticket) == "answer"


def test_a_restart_of_redis_loses_no_job(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    """Neither those that wait, nor the one that runs, nor the model in the worker's memory."""
    start_workers(queue=BATCH)
    running = dispatcher.submit("hold", "first", queue=BATCH, deadline=60)
    assert redis.blpop(["began"], timeout=5)
    waiting = [dispatcher.submit("echo", number, queue=BATCH, deadline=60) for number in range(20)]
    with ThreadPoolExecutor(21) as pool:
        answers = pool.map(dispatcher.wait, [running, *waiting])
        os.kill(redis.info("server")["process_id"], signal.SIGKILL)  # type: ignore[index]
        _when_back(lambda: redis.rpush("let go first", 1))
        assert list(answers) == ["first", *range(20)]
    assert redis.get("builds") == b"1"


def _when_back(act: Callable[[], object]) -> None:
    while True:
        try:
            act()
        except RedisConnectionError:
            continue
        return


def test_no_job_is_lost_while_workers_are_killed_at_random(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    """A job may be tried twice, so each is given one kill to survive."""
    supervisor = start_workers(2, BATCH)
    chance = random.Random(0)
    with ThreadPoolExecutor(64) as pool:
        tickets = [dispatcher.submit("echo", number, queue=BATCH, deadline=120) for number in range(300)]
        answers = pool.map(dispatcher.wait, tickets)
        for _ in range(4):
            assert redis.blpop(["ran"], timeout=30)
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(list(supervisor.pids().values())), signal.SIGKILL)
        assert list(answers) == list(range(300))
    assert overview(redis)[BATCH].waiting == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_two_hundred_clicks_of_two_people_never_get_the_others_answer(
    redis_server: str, start_workers: StartWorkers, workers: int
) -> None:
    start_workers(workers)
    dispatcher = Dispatcher(connect(redis_server), {CLICKS: 64})

    def click(person: str, number: int) -> tuple[object, object]:
        payload = {"person": person, "image": f"{person}'s photo", "click": number}
        ticket = dispatcher.submit("echo", payload, queue=CLICKS, deadline=60, key=f"{person} {number}")
        return payload, dispatcher.wait(ticket)

    with ThreadPoolExecutor(32) as pool:
        clicks = [pool.submit(click, person, number) for number in range(200) for person in ("Ann", "Bob")]
        for each in clicks:
            asked, answered = each.result()
            assert answered == asked


def test_a_click_is_not_behind_a_batch(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers(queue=BATCH)
    start_workers(queue=CLICKS)
    batch = dispatcher.submit("hold", "first", queue=BATCH, deadline=60)
    assert redis.blpop(["began"], timeout=5)
    for number in range(100):
        dispatcher.submit("echo", number, queue=BATCH, deadline=60)
    assert dispatcher.wait(dispatcher.submit("echo", "now", queue=CLICKS, deadline=5)) == "now"
    assert overview(redis)[BATCH].waiting == 100
    redis.rpush("let go first", 1)
    assert dispatcher.wait(batch) == "first"


def test_a_redis_that_stops_answering_is_told_at_the_deadline(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    """Until then, one who waits goes on hoping: it may be back in a moment."""
    start_workers()
    ticket = dispatcher.submit("hold", "first", queue=CLICKS, deadline=1)
    assert redis.blpop(["began"], timeout=5)
    server = redis.info("server")["process_id"]  # type: ignore[index]
    os.kill(server, signal.SIGSTOP)
    try:
        with pytest.raises(QueueUnavailable, match="Redis can't be used"):
            dispatcher.wait(ticket)
    finally:
        os.kill(server, signal.SIGCONT)
