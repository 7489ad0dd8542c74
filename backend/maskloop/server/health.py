"""How it stands: looked at each second in the background, so that asking is free and never waits for Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from maskloop.dispatch.overview import QueueState, WorkerState
from maskloop.dispatch.queues import QueueName
from maskloop.errors import MaskloopError

INTERVAL = 1.0
STALE = 5.0
"""Seconds without a new look after which Redis counts as silent."""

Overview = Mapping[QueueName, QueueState]


@dataclass(frozen=True)
class Look:
    """What was seen; ``trouble`` is set, and ``queues`` empty, if Redis couldn't be asked."""

    queues: Overview = field(default_factory=dict)
    trouble: MaskloopError | None = None
    at: float = field(default_factory=time.monotonic)


class Watch:
    """``overview`` asks Redis; :meth:`refresh` is to be called every ``INTERVAL`` seconds, by one thread."""

    def __init__(self, overview: Callable[[], Overview]) -> None:
        self._overview = overview
        self.look = Look()

    def refresh(self) -> None:
        try:
            self.look = Look(self._overview())
        except MaskloopError as error:
            self.look = Look(trouble=error)


def health(look: Look, version: str) -> dict[str, Any]:
    """The body of ``/health``. ``status`` is UP whenever this answers; ``problems`` says what doesn't work."""
    workers = [worker for state in look.queues.values() for worker in state.workers]
    problems = list(_problems(look))
    return {
        "status": "UP",
        "model_version": version,
        "engine": _first(workers, "engine"),
        "engine_note": _first(workers, "engine_note"),
        "redis": "UP" if look.queues else "DOWN",
        "workers": {
            name.value: {state: _count(queue.workers, state) for state in ("ready", "busy", "starting")}
            for name, queue in look.queues.items()
        },
        "queues": {name.value: {"waiting": queue.waiting, "running": queue.running} for name, queue in look.queues.items()},
        "problems": problems,
    }


def _problems(look: Look) -> list[str]:
    if look.trouble:
        return [str(look.trouble)]
    if time.monotonic() - look.at > STALE:
        return ["Redis doesn't answer."]
    found = [f"{name}: {queue.failure}" for name, queue in look.queues.items() if queue.failure and not queue.workers]
    clicks = look.queues.get(QueueName.INTERACTIVE)
    if clicks and not clicks.workers and not clicks.failure:
        found.append("interactive: no worker is running, so clicks are not answered.")
    return found


def _count(workers: tuple[WorkerState, ...], state: str) -> int:
    """``ready`` is idle or busy."""
    if state == "ready":
        return sum(worker.state in ("idle", "busy") for worker in workers)
    return sum(worker.state == state for worker in workers)


def _first(workers: list[WorkerState], fact: str) -> str | None:
    return next((str(worker.report[fact]) for worker in workers if worker.report.get(fact)), None)
