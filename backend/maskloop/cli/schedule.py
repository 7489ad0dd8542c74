"""The times of a cron line."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from croniter import croniter  # type: ignore[import-untyped]

from maskloop.errors import BadRequest


def times(line: str, now: Callable[[], datetime]) -> Callable[[], float]:
    """Tells the seconds to the line's next time. Raises BadRequest if it is no cron line."""
    if not croniter.is_valid(line):
        raise BadRequest(f"{line!r} is no cron line.", "Five fields: minute, hour, day, month, weekday; `0 3 * * *`.")

    def left() -> float:
        present = now()
        following: datetime = croniter(line, present).get_next(datetime)
        return (following - present).total_seconds()

    return left


def local_time() -> datetime:
    return datetime.now().astimezone()
