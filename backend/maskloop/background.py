"""Work that goes on beside a process's own, each piece in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from maskloop.errors import MaskloopError

PAUSE = 5.0
"""Seconds after a failure that nobody foresaw."""
GRACE = 10.0

Task = Callable[[threading.Event], None]
"""Goes on until the event is set."""

log = logging.getLogger("maskloop.background")


@contextmanager
def running(tasks: Sequence[Task], pause: float = PAUSE) -> Iterator[None]:
    """A task that fails is logged and begun again: the process lives on, so nobody else would."""
    stop = threading.Event()
    threads = [threading.Thread(target=persist, args=(task, stop, pause), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(GRACE)


def persist(task: Task, stop: threading.Event, pause: float) -> None:
    while not stop.is_set():
        try:
            task(stop)
            return
        except Exception:
            log.exception("Something that goes on in the background failed; it goes on in %g s.", pause)
            stop.wait(pause)


def repeat(act: Callable[[], object], pause: Callable[[], float], stop: threading.Event) -> None:
    """Acts after each pause, of so many seconds, until ``stop`` is set.

    A MaskloopError, or each of a group of them, is logged and it goes on; one that was there the last time isn't
    logged again.
    """
    told: set[str] = set()
    while not stop.wait(pause()):
        trouble: set[str] = set()
        try:
            act()
        except* MaskloopError as errors:
            trouble = {str(error) for error in errors.exceptions}
        for one in sorted(trouble - told):
            log.warning("%s", one)
        told = trouble
