"""Nothing that the demo starts outlives it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from maskloop.demo.checkout import DemoError
from maskloop.demo.child import free_port, running

PARENT = """
import signal, subprocess, sys
if {stubborn}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(grandchild.pid, flush=True)
grandchild.wait()
"""
DEMO = """
import sys, time
from pathlib import Path
from maskloop.demo.child import running
from maskloop.cli.demo import leave_on_signals
leave_on_signals()
with running("child", [sys.executable, "-c", {parent!r}], Path({log!r}), {{}}):
    time.sleep(600)
"""

Until = Callable[..., None]


def started(log: Path) -> bool:
    return log.is_file() and log.read_text().endswith("\n")


def test_a_child_and_its_own_children_are_gone_after_the_block(tmp_path: Path, until: Until) -> None:
    log = tmp_path / "log"
    with running("parent", [sys.executable, "-c", PARENT.format(stubborn=False)], log, {}) as child:
        until(lambda: started(log))
        grandchild = psutil.Process(int(log.read_text()))
    assert child.process.returncode == -signal.SIGTERM
    until(lambda: not grandchild.is_running())


def test_a_child_that_ignores_the_request_is_killed(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskloop.demo.child.STOP_TIMEOUT", 0.1)
    log = tmp_path / "log"
    with running("parent", [sys.executable, "-c", PARENT.format(stubborn=True)], log, {}) as child:
        until(lambda: started(log))
    assert child.process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_whatever_signal_ends_the_demo_no_process_is_left(tmp_path: Path, until: Until, number: int) -> None:
    log = tmp_path / "log"
    program = DEMO.format(parent=PARENT.format(stubborn=False), log=str(log))
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL) as demo:
        until(lambda: started(log))
        left = psutil.Process(demo.pid).children(recursive=True)
        demo.send_signal(number)
    assert len(left) == 2
    until(lambda: not any(process.is_running() for process in left))


def test_a_child_that_ends_while_it_starts_is_reported_with_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no database')"]
    with (
        running("Label Studio", command, tmp_path / "log", {}) as child,
        pytest.raises(DemoError, match=r"Label Studio ended while it started:\nno database"),
    ):
        child.wait_until_ready(f"http://127.0.0.1:{free_port()}/", timeout=30)


def test_a_port_that_is_taken_gives_the_next_free_one() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < free_port(port) < port + 100
