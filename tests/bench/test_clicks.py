"""The server that is measured goes when the measuring is over."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maskloop.bench import clicks

STUBBORN = "#!/bin/sh\ntrap '' TERM\ntouch {}\nexec sleep 1000\n"


def test_a_server_that_will_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    server, started = tmp_path / "server", tmp_path / "started"
    server.write_text(STUBBORN.format(started))
    server.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(server))
    monkeypatch.setattr(clicks, "STOP_LIMIT", 0.1)
    monkeypatch.setattr(clicks, "Clicker", lambda _url, process, *_: process)
    with clicks.serving("http://label-studio", tmp_path) as process:
        until(started.exists)
    assert process.wait(20) == -signal.SIGKILL
