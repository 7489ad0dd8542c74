"""What goes on beside a process's own work."""

import threading
from collections.abc import Callable

import pytest

from maskloop.cli.background import running


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
