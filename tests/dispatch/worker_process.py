"""A real worker process with handlers that do what tests need: ``worker_process.py REDIS_URL QUEUE [BUILD]``."""

import os
import signal
import sys
import threading
from typing import Any

from redis.exceptions import ConnectionError

from maskloop.dispatch import executor
from maskloop.dispatch.context import Interrupted, JobContext
from maskloop.dispatch.executor import Service
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.worker import run_worker
from maskloop.engines.runtime import gpu_is_lost
from maskloop.errors import ImageRefused, ImageUnreadable, Unavailable, WeightsError


def main(url: str, queue: str, build: str = "quick") -> None:
    redis = connect(url)
    executor.RETRY_PAUSE = 0.01

    def echo(payload: Any, _: JobContext) -> Any:
        redis.rpush("ran", str(payload))
        return payload

    def pid(_: Any, __: JobContext) -> int:
        return os.getpid()

    def refuse(payload: Any, _: JobContext) -> Any:
        raise ImageRefused(payload, "Allow it.")

    def stumble(payload: Any, _: JobContext) -> Any:
        raise ZeroDivisionError(payload)

    def unserializable(_: Any, __: JobContext) -> Any:
        return {"value": object()}

    def hold(payload: Any, _: JobContext) -> Any:
        """Says that it began, then waits to be let go."""
        redis.rpush("began", str(payload))
        while True:
            try:
                if redis.blpop([f"let go {payload}"], timeout=1):
                    return payload
            except ConnectionError:
                continue

    def hang(payload: Any, _: JobContext) -> Any:
        """The first try hangs for good, in something that takes all exceptions for its own; a second one answers."""
        tries = redis.incr("tries")
        redis.rpush("began", os.getpid())
        if tries == 1:
            try:
                threading.Event().wait()
            except Exception as error:
                raise ImageUnreadable("The image is damaged.") from error
        return payload

    def alarm(_: Any, __: JobContext) -> float:
        """Seconds until this would be interrupted."""
        return signal.getitimer(signal.ITIMER_REAL)[0]

    def lose_gpu(payload: Any, _: JobContext) -> Any:
        if redis.incr("tries") == 1:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return payload

    def lose_sight(payload: Any, _: JobContext) -> Any:
        if redis.incr("tries") <= 3:
            raise Unavailable("The database can't be used.")
        return payload

    def die(_: Any, __: JobContext) -> Any:
        redis.incr("deaths")
        os.kill(os.getpid(), signal.SIGKILL)

    def long(payload: Any, context: JobContext) -> Any:
        """Goes on until told otherwise; starts from where an interrupted one left off."""
        redis.rpush("began", os.getpid())
        done = int(redis.get("saved") or 0)  # type: ignore[arg-type]
        while done < payload:
            context.progress(f"step {done}")
            try:
                context.check()
            except Interrupted:
                redis.set("saved", done)
                raise
            redis.blpop(["step"], timeout=0.5)  # type: ignore[arg-type]
            done += 1
        return done

    def make() -> Service:
        redis.incr("builds")
        if build == "without weights":
            raise WeightsError("The weights are missing.", "Run `maskloop weights fetch`.")
        if build == "slow":
            while not redis.blpop(["build"], timeout=1):
                ...
        short = (echo, pid, refuse, stumble, unserializable, alarm, lose_gpu, lose_sight, die)
        handlers = (*short, hold, hang, long)
        at_once = 3 if build == "three at once" else 1
        named = {"train": die} | {handler.__name__: handler for handler in handlers}
        return Service(named, lambda: {"engine": "none"}, gpu_is_lost, at_once)

    run_worker(redis, QueueName(queue), make)


if __name__ == "__main__":
    main(*sys.argv[1:])
