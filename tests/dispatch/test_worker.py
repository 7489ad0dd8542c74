"""What a worker process does besides its jobs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis import Redis
from rq.exceptions import StopRequested
from rq.worker import WorkerStatus

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.executor import Executor, Service
from maskloop.dispatch.jobs import WorkerLost
from maskloop.dispatch.overview import overview
from maskloop.dispatch.private_redis import PrivateRedis
from maskloop.dispatch.queues import JobQueue, QueueName, connect
from maskloop.dispatch.supervisor import Supervisor
from maskloop.dispatch.worker import _Stop, _Worker

CLICKS = QueueName.INTERACTIVE
HANDLERS = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
StartWorkers = Callable[..., Supervisor]


def test_the_model_is_loaded_once(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    start_workers()
    for number in range(5):
        dispatcher.wait(dispatcher.submit("echo", number, queue=CLICKS, deadline=10))
    assert redis.get("builds") == b"1"


def test_a_worker_tells_of_itself(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    start_workers()
    dispatcher.wait(dispatcher.submit("echo", 1, queue=CLICKS, deadline=10))
    until(lambda: overview(redis)[CLICKS].workers[0].report.get("jobs"))
    report = overview(redis)[CLICKS].workers[0].report
    assert report["engine"] == "none"
    assert report["jobs"]["echo"]["done"] == 1
    assert overview(redis)[QueueName.BATCH].workers == ()


def test_a_stopped_worker_ends_its_job_first(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers, until: Callable[..., None]
) -> None:
    supervisor = start_workers()
    ticket = dispatcher.submit("hold", "first", queue=CLICKS, deadline=20)
    assert redis.blpop(["began"], timeout=10)
    os.kill(supervisor.pids()["interactive-0"], signal.SIGTERM)
    redis.rpush("let go first", 1)
    assert dispatcher.wait(ticket) == "first"
    until(lambda: supervisor.deaths == 1)


def test_a_stop_that_comes_after_rq_looked_for_one_is_heeded(redis: Redis) -> None:
    """It looks before it waits for a job, and waits for as long as it takes."""
    stop = _Stop()
    between_jobs = _Worker(JobQueue(CLICKS, redis), lambda: Executor(Service({})), stop)
    between_jobs.set_state(WorkerStatus.BUSY)
    stop.reach(between_jobs)
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, HANDLERS[number])
    with pytest.raises(StopRequested):
        between_jobs.set_state(WorkerStatus.IDLE)


def test_a_long_job_survives_the_stop_of_its_worker(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    """It saves what it has and goes back to the queue, and the next worker goes on: as often as must be."""
    supervisor = start_workers(queue=QueueName.TRAIN)
    ticket = dispatcher.submit("long", 40, queue=QueueName.TRAIN, deadline=None)
    for _ in range(3):
        began = redis.blpop(["began"], timeout=20)
        assert began
        redis.rpush("step", *range(5))
        os.kill(int(began[1]), signal.SIGTERM)  # type: ignore[index]
    redis.rpush("step", *range(40))
    assert dispatcher.wait(ticket, timeout=30) == 40
    assert supervisor.deaths == 3


def test_a_worker_whose_redis_is_gone_ends_when_told_to(
    worker_script: Path, tmp_path: Path, until: Callable[..., None]
) -> None:
    with ExitStack() as stack:
        with PrivateRedis(tmp_path) as server:
            command = [sys.executable, str(worker_script), server.url, CLICKS]
            worker = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            stack.callback(worker.kill)
            with connect(server.url) as redis:
                until(lambda: any(one.state == "idle" for one in overview(redis)[CLICKS].workers))
        assert worker.stderr
        assert any("could not connect to Redis" in line for line in worker.stderr)
        worker.terminate()
        assert worker.wait(10) == 0


def test_a_job_that_kills_its_worker_is_tried_twice_and_no_more(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    ticket = dispatcher.submit("die", None, queue=CLICKS, deadline=60)
    with pytest.raises(WorkerLost, match="twice"):
        dispatcher.wait(ticket)
    assert redis.get("deaths") == b"2"


def test_a_job_for_which_something_was_away_is_tried_again(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    start_workers()
    ticket = dispatcher.submit("lose_sight", "answer", queue=CLICKS, deadline=20)
    assert dispatcher.wait(ticket) == "answer"


def test_a_worker_that_can_do_no_job_any_more_makes_way_for_another(
    dispatcher: Dispatcher, start_workers: StartWorkers
) -> None:
    supervisor = start_workers()
    ticket = dispatcher.submit("lose_gpu", "photo", queue=CLICKS, deadline=60)
    assert dispatcher.wait(ticket) == "photo"
    assert supervisor.deaths == 1


def test_a_job_whose_worker_died_before_beginning_it_is_not_lost(
    dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers
) -> None:
    """Such a worker leaves the job between the queue and itself."""
    start_workers()
    queue = JobQueue(CLICKS, redis)
    busy = dispatcher.submit("hold", "first", queue=CLICKS, deadline=20)
    assert redis.blpop(["began"], timeout=10)
    ticket = dispatcher.submit("echo", "taken", queue=CLICKS, deadline=20)
    redis.lmove(queue.key, queue.intermediate_queue_key)
    redis.rpush("let go first", 1)
    assert dispatcher.wait(busy) == "first"
    assert dispatcher.wait(ticket) == "taken"
    assert redis.lrange(queue.intermediate_queue_key, 0, -1) == []


def test_no_pickles_cross_the_queue(dispatcher: Dispatcher, redis: Redis, start_workers: StartWorkers) -> None:
    """What lies in Redis is JSON, whoever wrote it."""
    start_workers()
    dispatcher.submit("hold", "first", queue=CLICKS, deadline=20)
    assert redis.blpop(["began"], timeout=10)
    ticket = dispatcher.submit("echo", "ours", queue=CLICKS, deadline=20)
    job = JobQueue(CLICKS, redis).fetch_job(ticket.id)
    assert job is not None
    assert json.loads(job.data)[0] == "echo"
    redis.rpush("let go first", 1)
    assert dispatcher.wait(ticket) == "ours"
