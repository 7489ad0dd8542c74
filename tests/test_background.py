"""What goes on beside a process's own work."""

import threading
from collections.abc import Callable

import pytest

from maskloop.background import repeat, running
from maskloop.errors import MaskloopError, QueueUnavailable


def test_what_fails_goes_on_and_says_why(until: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    begun: list[str] = []

    def fragile(stop: threading.Event) -> None:
        begun.append("fragile")
        if begun.count("fragile") < 3:
            raise OSError("No space left on device")
        stop.wait()

    def sound(stop: threading.Event) -> None:
        begun.append("sound")
        stop.wait()

    with running([fragile, sound], pause=0.001):
        until(lambda: begun.count("fragile") == 3)
    assert begun.count("sound") == 1
    assert caplog.text.count("OSError: No space left on device") == 2


def test_trouble_that_lasts_is_told_once(until: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    away, full = QueueUnavailable("Redis is away."), MaskloopError("The disk is full.")
    failures = [away, away, ExceptionGroup("both", [away, full]), None, full]

    def act() -> None:
        done.append(len(done))
        if len(done) <= len(failures) and (failure := failures[len(done) - 1]):
            raise failure

    stop = threading.Event()
    thread = threading.Thread(target=repeat, args=(act, lambda: 0.001, stop))
    thread.start()
    until(lambda: len(done) > len(failures))
    stop.set()
    thread.join()
    assert [record.message for record in caplog.records] == [str(away), str(full), str(full)]


def test_what_nobody_foresaw_is_not_held_back() -> None:
    def act() -> None:
        raise ExceptionGroup("both", [QueueUnavailable("Redis is away."), OSError("No space left on device")])

    with pytest.raises(ExceptionGroup) as raised:
        repeat(act, lambda: 0.001, threading.Event())
    assert [type(error) for error in raised.value.exceptions] == [OSError]
