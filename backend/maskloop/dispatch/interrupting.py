"""Ends a job whose time is over, in the thread that does it."""

from __future__ import annotations

import ctypes
import threading
from contextlib import suppress

from rq.timeouts import BaseDeathPenalty, UnixSignalDeathPenalty

from maskloop.dispatch.context import OutOfTime


class Alarm(UnixSignalDeathPenalty):
    """In the main thread: by a signal, also while it waits for something."""

    def handle_death_penalty(self, *_: object) -> None:
        raise OutOfTime(self._timeout)

    def cancel_death_penalty(self) -> None:
        with suppress(OutOfTime):  # it is done anyway
            super().cancel_death_penalty()  # type: ignore[no-untyped-call]


class Timer(BaseDeathPenalty):
    """In another thread, which gets no signals: as soon as it runs Python."""

    def setup_death_penalty(self) -> None:
        self._thread, self._guard, self._done = threading.get_ident(), threading.Lock(), False
        self._timer = threading.Timer(self._timeout, self._interrupt)
        self._timer.daemon = True
        if self._timeout > 0:
            self._timer.start()

    def cancel_death_penalty(self) -> None:
        with suppress(OutOfTime):
            self._timer.cancel()
            with self._guard:
                self._done = True
            _raise_in(self._thread, None)  # it may be on its way

    def _interrupt(self) -> None:
        with self._guard:
            if not self._done:
                _raise_in(self._thread, OutOfTime)


def _raise_in(thread: int, error: type[BaseException] | None) -> None:
    """None takes back what wasn't raised yet.

    https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error and ctypes.py_object(error))
