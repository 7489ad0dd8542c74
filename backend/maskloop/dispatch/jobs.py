"""What a job is made of: payload, ticket, and the forms in which results and errors cross the queue."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from typing import Any

from maskloop.dispatch.queues import QueueName
from maskloop.errors import MaskloopError

Json = Any
"""What ``json.dumps`` takes: None, bool, int, float, str, and lists and string-keyed dicts of them."""


class Replaced(MaskloopError):
    """A newer job with the same key took this one's place before a worker began it."""

    code = "replaced"


class Cancelled(MaskloopError):
    """Somebody cancelled the job."""

    code = "cancelled"


class WorkerLost(MaskloopError):
    """The job's worker died, and so did the one that tried it again."""

    code = "worker_lost"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A claim on a submitted job's result. ``deadline`` is in seconds since the epoch, or None."""

    id: str
    queue: QueueName
    deadline: float | None = None

    def remaining(self) -> float:
        """Seconds to the deadline; infinite without one, negative after it."""
        return inf if self.deadline is None else self.deadline - time.time()


def cancel_key(job_id: str) -> str:
    return f"maskloop:cancel:{job_id}"


def pack_value(value: Json) -> dict[str, Json]:
    return {"value": value}


def pack_error(error: MaskloopError) -> dict[str, Json]:
    return {"error": {"code": error.code, "message": error.message, "hint": error.hint}}


def unpack(outcome: dict[str, Json]) -> Json:
    """The packed value; a packed error is raised as the class that its code names."""
    if "error" in outcome:
        raise unpack_error(outcome)
    return outcome["value"]


def unpack_error(outcome: dict[str, Json]) -> MaskloopError:
    """The packed error; :class:`MaskloopError` itself if this process knows no class of that code."""
    error = outcome["error"]
    named = (kind for kind in _descendants(MaskloopError) if kind.code == error["code"])
    return next(named, MaskloopError)(error["message"], error["hint"])


def _descendants(kind: type[MaskloopError]) -> Iterator[type[MaskloopError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)
