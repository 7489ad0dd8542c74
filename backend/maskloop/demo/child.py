"""Child processes that end with us, whatever ends us, and take their own children along."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from maskloop.demo.checkout import DemoError
from maskloop.dispatch.supervisor import signal_group

STOP_TIMEOUT = 45.0
"""Time a child has to end by itself, seconds: maskloop lets requests and jobs under way end."""


@dataclass(frozen=True)
class Child:
    """One running process: what people call it, where its log is."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(
        self, url: str, timeout: float, ready: Callable[[httpx.Response], bool] = lambda _: True
    ) -> None:
        """Return once ``url`` answers 200 with something that is ``ready``.

        Raises DemoError if the process ends before, or ``timeout`` seconds pass.
        """
        end = time.monotonic() + timeout
        with httpx.Client(timeout=5) as client:
            while time.monotonic() < end:
                if self.process.poll() is not None:
                    raise DemoError(f"{self.name} ended while it started:\n{self.last_lines()}", f"Its log: {self.log}")
                with contextlib.suppress(httpx.TransportError):
                    answer = client.get(url)
                    if answer.status_code == httpx.codes.OK and ready(answer):
                        return
                time.sleep(0.2)
        raise DemoError(f"{self.name} did not answer within {timeout:.0f} s:\n{self.last_lines()}", f"Log: {self.log}")

    def last_lines(self, count: int = 8) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


@contextlib.contextmanager
def running(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Iterator[Child]:
    """Run ``command`` with ``environment`` on top of ours, output appended to ``log``; stop it on the way out.

    It gets a session of its own, so that a terminal's Ctrl-C reaches us alone and the stopping keeps its order.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        yield Child(name, process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    try:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
    finally:
        signal_group(process, signal.SIGKILL)
        process.wait()


def free_port(preferred: int = 0) -> int:
    """``preferred`` or the next port up that nobody listens on; 0: any. On loopback."""
    for port in range(preferred, preferred + 100) if preferred else (0,):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoError(f"No port from {preferred} to {preferred + 99} is free.")
