"""What is done at the times of a cron line."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from croniter import croniter  # type: ignore[import-untyped]

from maskloop.errors import BadRequest, MaskloopError

log = logging.getLogger("maskloop.schedule")


def times(line: str, now: Callable[[], datetime]) -> Callable[[], float]:
    """Tells the seconds to the line's next time. Raises BadRequest if it is no cron line."""
    if not croniter.is_valid(line):
        raise BadRequest(f"{line!r} is no cron line.", "Five fields: minute, hour, day, month, weekday; `0 3 * * *`.")

    def left() -> float:
        present = now()
        following: datetime = croniter(line, present).get_next(datetime)
        return (following - present).total_seconds()

    return left


def keep_to(left: Callable[[], float], act: Callable[[], None], stop: threading.Event) -> None:
    """Acts each time that ``left`` seconds have passed, until ``stop`` is set; an error is logged, but not the same one
    after the other, and it goes on."""
    trouble = ""
    while not stop.wait(left()):
        try:
            act()
        except MaskloopError as error:
            if str(error) != trouble:
                log.warning("%s", error)
            trouble = str(error)
        else:
            trouble = ""


def local_time() -> datetime:
    return datetime.now().astimezone()
