"""How it stands: looked at each second in the background, so that asking is free and never waits for Redis."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from maskloop.dispatch.overview import READY, QueueState, WorkerState
from maskloop.dispatch.queues import QueueName
from maskloop.errors import MaskloopError
from maskloop.learning.versions import Answering

INTERVAL = 1.0
STALE = 5.0
"""Seconds without a new look after which Redis counts as silent."""

STATES = {"ready": READY, "busy": ("busy",), "starting": ("starting",)}
"""What is told of processes: those with a worker in one of these states."""

log = logging.getLogger("maskloop.server")

Overview = Mapping[QueueName, QueueState]


@dataclass(frozen=True)
class Look:
    """What was seen; ``trouble`` is set, and the rest empty, if nothing could be, e.g. as Redis is away."""

    queues: Overview = field(default_factory=dict)
    batches: dict[str, Any] = field(default_factory=dict)
    trouble: MaskloopError | None = None
    at: float = field(default_factory=time.monotonic)


class Watch:
    """``overview`` and ``batches`` ask Redis; :meth:`refresh` is to be called each ``INTERVAL``, by one thread."""

    def __init__(self, overview: Callable[[], Overview], batches: Callable[[], dict[str, Any]]) -> None:
        self._overview = overview
        self._batches = batches
        self.look = Look()

    def refresh(self) -> None:
        try:
            self.look = Look(self._overview(), self._batches())
        except MaskloopError as error:
            self.look = Look(trouble=error)
        except Exception as error:
            log.exception("Looking at queues and batches failed.")
            told = f"How it stands can't be seen: {type(error).__name__}. The log has its details."
            self.look = Look(trouble=MaskloopError(told))


def health(look: Look, answering: Answering) -> dict[str, Any]:
    """The body of ``/health``.

    ``model_version`` is in service but in projects that have one of their own, ``project_versions``.
    ``status`` is DOWN, and the HTTP status 503, while neither clicks nor batches can be answered: Label Studio then
    shows the backend as disconnected. ``doing``: how far long jobs are. ``problems`` says what doesn't work.
    """
    workers = [worker for state in look.queues.values() for worker in state.workers]
    silent = time.monotonic() - look.at > STALE
    able = [name for name in (QueueName.INTERACTIVE, QueueName.BATCH) if _workers(look, name)]
    return {
        "status": "UP" if able and not silent else "DOWN",
        "model_version": answering[None],
        "project_versions": {str(project): name for project, name in answering.items() if project is not None},
        "engine": _first(workers, "engine"),
        "engine_note": _first(workers, "engine_note"),
        "redis": "UP" if look.queues and not silent else "DOWN",
        "workers": {
            name.value: {title: queue.processes(*states) for title, states in STATES.items()}
            for name, queue in look.queues.items()
        },
        "queues": {
            name.value: {"waiting": queue.waiting, "running": queue.running} for name, queue in look.queues.items()
        },
        "batches": look.batches,
        "doing": [worker.report["doing"] for worker in workers if worker.report.get("doing")],
        "problems": ["Redis doesn't answer."] if silent else list(_problems(look)),
    }


def _problems(look: Look) -> Iterator[str]:
    if look.trouble:
        yield str(look.trouble)
    for name, queue in look.queues.items():
        if queue.failure and not queue.workers:
            yield f"{name}: {queue.failure}"
        elif name is QueueName.INTERACTIVE and not queue.workers:
            yield "interactive: no worker is running, so clicks are not answered."
    yield from look.batches.get("troubles", {}).values()
    yield from (f"Project {project}: {advice}" for project, advice in look.batches.get("advice", {}).items())


def _workers(look: Look, name: QueueName) -> tuple[WorkerState, ...]:
    return look.queues[name].workers if name in look.queues else ()


def _first(workers: list[WorkerState], fact: str) -> str | None:
    return next((str(worker.report[fact]) for worker in workers if worker.report.get(fact)), None)
