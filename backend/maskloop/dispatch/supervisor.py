"""Keeps processes running: replaces the dead, and leaves no orphans behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

STABLE = 10.0
"""Seconds a process must live for its death to count as the first of its kind."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds before a process that died young is started again; doubles with each such death."""

GUARD = 'exec 3<&0; (read -r _ <&3; kill -TERM $$) & exec "$@" </dev/null 3<&-'
"""Runs a command and, once its own standard input ends, asks that command to stop: the pipe at the other end is held by
the supervisor alone, so it also closes when the supervisor is killed."""

log = logging.getLogger("maskloop.supervisor")


@dataclass(frozen=True)
class Child:
    """A process to keep running. ``env`` is added to this process's environment."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


class Supervisor:
    """Each child runs in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which
    then stops them in peace: SIGTERM, and SIGKILL to what is left of the group after ``grace`` seconds. They stay in
    the supervisor's session: Linux shares the CPU between sessions first, and niceness counts within one only."""

    def __init__(
        self, children: Sequence[Child], *, grace: float = 10.0, on_death: Callable[[int], None] | None = None
    ) -> None:
        """``on_death`` is told the process id of each child that ended without being asked to."""
        self._children = children
        self._on_death = on_death
        self._grace = grace
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self.deaths = 0
        """Times that a child ended without being asked to."""

    def __enter__(self) -> Self:
        for child in self._children:
            thread = threading.Thread(target=self._keep, args=(child,), name=f"keep {child.name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops all children at once, and returns when they are gone."""
        self._stopping.set()
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            signal_group(process, signal.SIGTERM)
        end = time.monotonic() + self._grace
        for process in processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("pid %d didn't stop within %.0f s: killed", process.pid, self._grace)
        for process in processes:
            signal_group(process, signal.SIGKILL)
        for thread in self._threads:
            thread.join()

    def pids(self) -> dict[str, int]:
        """The process of each child that runs now."""
        with self._lock:
            return {name: process.pid for name, process in self._processes.items() if process.poll() is None}

    def _keep(self, child: Child) -> None:
        early = 0
        while process := self._start(child):
            began = time.monotonic()
            status = process.wait()
            signal_group(process, signal.SIGKILL)
            if self._stopping.is_set():
                return
            self.deaths += 1
            if self._on_death:
                self._on_death(process.pid)
            early = 0 if time.monotonic() - began >= STABLE else early + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (early - 1)) if early else 0.0
            log.warning("%s (pid %d) %s; starting it again in %.1f s", child.name, process.pid, _ending(status), pause)
            self._stopping.wait(pause)

    def _start(self, child: Child) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            process = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", GUARD, child.name, *child.command],
                env={**os.environ, **child.env},
                stdin=subprocess.PIPE,
                process_group=0,
            )
            self._processes[child.name] = process
            return process


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To all of the group that the process leads, if any is left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # the latter is macOS' word for a group that has ended
        return


def _ending(status: int) -> str:
    return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
