"""Processes are kept running and end with their supervisor."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maskloop.dispatch import supervisor as supervisors
from maskloop.dispatch.supervisor import Child, Supervisor

AUTOGROUP = Path("/proc/self/autogroup")
SLEEP = ["sleep", "1000"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_process_is_replaced(until: Callable[..., None]) -> None:
    with Supervisor([Child("a", SLEEP), Child("b", SLEEP)]) as supervisor:
        until(lambda: len(supervisor.pids()) == 2)
        before = supervisor.pids()
        os.kill(before["a"], signal.SIGKILL)
        until(lambda: supervisor.pids().get("a") not in (None, before["a"]))
        assert supervisor.pids()["b"] == before["b"]


def test_a_process_that_dies_at_once_is_tried_less_and_less_often(until: Callable[..., None]) -> None:
    with Supervisor([Child("a", ["false"])]) as supervisor:
        until(lambda: supervisor.deaths == 3)
        until(lambda: supervisor.deaths == 4, timeout=3)
    assert supervisor.deaths == 4


@pytest.mark.parametrize("never", [{"STABLE": 0.0}, {"LONGEST_PAUSE": 0.0}], ids=["it was stable", "longest pause"])
def test_but_never_more_seldom_than_said_and_at_once_after_it_was_stable(
    never: dict[str, float], monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    for name, seconds in ({"FIRST_PAUSE": 1000.0} | never).items():
        monkeypatch.setattr(supervisors, name, seconds)
    with Supervisor([Child("a", ["false"])]) as supervisor:
        until(lambda: supervisor.deaths >= 3)


def test_what_a_dead_process_started_dies_too(tmp_path: Path, until: Callable[..., None]) -> None:
    command = ["/bin/sh", "-c", f"sleep 1000 & echo $! >> {tmp_path}/left; exit 1"]
    with Supervisor([Child("a", command)]) as supervisor:
        until(lambda: supervisor.deaths)
        left = int((tmp_path / "left").read_text().split()[0])
        until(lambda: not alive(left))


@pytest.mark.parametrize("first", ["a", "stubborn"])
def test_stopping_leaves_nothing_behind(first: str, tmp_path: Path, until: Callable[..., None]) -> None:
    """Whichever was started first."""

    class InOrder(Supervisor):
        def _start(self, child: Child) -> subprocess.Popen[bytes] | None:
            until(lambda: child.name == first or first in self._processes)
            return super()._start(child)

    stubborn = Child("stubborn", ["/bin/sh", "-c", f"trap '' TERM; touch {tmp_path}/deaf; while :; do sleep 1; done"])
    with InOrder([stubborn, Child("a", SLEEP)], grace=0.5) as supervisor:
        until(lambda: len(supervisor.pids()) == 2 and (tmp_path / "deaf").exists())
        pids = supervisor.pids().values()
    assert not any(alive(pid) for pid in pids)


@pytest.mark.skipif(not AUTOGROUP.exists(), reason="only Linux shares the CPU by session")
def test_children_share_the_cpu_by_their_niceness(until: Callable[..., None]) -> None:
    """Linux weighs it between the processes of one autogroup, which each new session gets of its own."""
    with Supervisor([Child("a", SLEEP)]) as supervisor:
        until(supervisor.pids)
        theirs = Path(f"/proc/{supervisor.pids()['a']}/autogroup")
        assert theirs.read_text() == AUTOGROUP.read_text()


def test_a_child_sees_the_environment_it_is_given(tmp_path: Path, until: Callable[..., None]) -> None:
    command = ["/bin/sh", "-c", f"echo $THREADS > {tmp_path}/seen; exec sleep 1000"]
    with Supervisor([Child("a", command, {"THREADS": "2"})]):
        until(lambda: (tmp_path / "seen").is_file() and (tmp_path / "seen").read_text() == "2\n")


def test_children_end_when_their_supervisor_is_killed(until: Callable[..., None]) -> None:
    script = (
        "from maskloop.dispatch.supervisor import *\n"
        f"with Supervisor([Child('a', {SLEEP})]) as s:\n"
        "    while not s.pids(): pass\n"
        "    print(s.pids()['a'], flush=True)\n"
        "    input()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    until(lambda: not alive(child))
