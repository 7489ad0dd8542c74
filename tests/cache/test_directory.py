"""The directory tier outlives its processes, and bears with whatever they and the disk leave behind."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskloop.cache.directory import ABANDONED, HEADER, TEMPORARY, DirectoryStore
from maskloop.cache.store import digest

SCRIPT = Path(__file__).parent / "cache_process.py"
ROOM = 1 << 20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def store(directory: Path) -> DirectoryStore:
    return DirectoryStore(directory, ROOM)


def file_of(directory: Path, key: str) -> Path:
    return directory / digest(key).hex()


def start(directory: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(SCRIPT), str(directory), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_another_process_finds_what_one_has_put(directory: Path, store: DirectoryStore) -> None:
    store.put("a", b"value")
    assert DirectoryStore(directory, ROOM).get("a") == b"value"


def test_only_its_owner_can_read_it(directory: Path, store: DirectoryStore) -> None:
    store.put("a", b"value")
    assert directory.stat().st_mode & 0o077 == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.binary(max_size=300), data=st.data())
def test_a_file_cut_short_or_altered_is_a_miss_and_removed(directory: Path, value: bytes, data: st.DataObject) -> None:
    store = DirectoryStore(directory, ROOM)
    store.put("a", value)
    path = file_of(directory, "a")
    whole = path.read_bytes()
    if data.draw(st.booleans(), "cut"):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1), "length")]
    else:
        used = [*range(52), *range(HEADER.size, len(whole))]  # the header's padding means nothing
        spot = data.draw(st.sampled_from(used), "spot")
        damaged = whole[:spot] + bytes([whole[spot] ^ data.draw(st.integers(1, 255), "bits")]) + whole[spot + 1 :]
    path.write_bytes(damaged)
    assert store.get("a") is None
    assert not path.exists()
    store.put("a", value)
    assert store.get("a") == value


@pytest.mark.parametrize("content", [b"", b"foreign", b"\0" * 4096, b"mskloop\x02" + b"\0" * 100])
def test_a_foreign_file_or_one_of_another_version_is_a_miss_and_removed(
    directory: Path, store: DirectoryStore, content: bytes
) -> None:
    store.put("b", b"value")
    file_of(directory, "a").write_bytes(content)
    assert store.get("a") is None
    assert not file_of(directory, "a").exists()
    assert store.get("b") == b"value"


def test_a_value_under_anothers_name_is_a_miss(directory: Path, store: DirectoryStore) -> None:
    store.put("a", b"the value of a")
    file_of(directory, "a").rename(file_of(directory, "b"))
    assert store.get("b") is None


def test_a_longer_file_is_not_read_whole(directory: Path, store: DirectoryStore) -> None:
    store.put("a", b"value")
    os.truncate(file_of(directory, "a"), 1 << 40)
    assert store.get("a") is None


def test_files_of_processes_that_died_while_writing_go_after_a_while(directory: Path, store: DirectoryStore) -> None:
    store.put("a", b"value")
    old, new = directory / f"{TEMPORARY}1-a", directory / f"{TEMPORARY}2-b"
    for path in (old, new):
        path.write_bytes(b"half a val")
    long_ago = time.time() - ABANDONED - 1
    os.utime(old, (long_ago, long_ago))
    DirectoryStore(directory, ROOM).put("b", b"value")
    assert not old.exists()
    assert new.exists()
    assert store.get("a") == b"value"


def test_it_shrinks_to_a_smaller_bound(directory: Path, store: DirectoryStore) -> None:
    for number in range(50):
        store.put(f"k{number}", bytes(10_000))
    smaller = DirectoryStore(directory, 100_000)
    smaller.put("new", bytes(10_000))
    assert disk_use(directory) <= 100_000
    assert smaller.get("new") is not None


def test_a_directory_that_cannot_be_used_is_no_cache_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    store = DirectoryStore(tmp_path / "file" / "cache", ROOM)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            store.put("a", b"value")
            assert store.get("a") is None
            with store.lock("a"):
                pass
    [record] = caplog.records
    assert "going on without it" in record.getMessage()


def test_a_full_disk_is_no_cache_and_said_once(directory: Path) -> None:
    """No file can grow beyond 4096 bytes there, which a write learns in the same way as of a full disk."""
    command = [sys.executable, str(SCRIPT), str(directory), "limited", "a"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["True"] * 3)
    assert done.stderr.count("going on without it") == 1
    assert [path for path in directory.iterdir() if path.is_file()] == []


def test_many_processes_killed_at_random_never_see_half_a_value(directory: Path) -> None:
    count = 1500
    steady = [start(directory, "hammer", seed, count) for seed in range(2)]
    rng = random.Random(7)
    for seed in range(6):
        victim = start(directory, "hammer", 100 + seed, 10**9)
        with pytest.raises(subprocess.TimeoutExpired):
            victim.wait(0.3 + rng.random() / 2)
        victim.kill()
        victim.wait()
    assert [process.wait(120) for process in steady] == [0, 0]
    assert disk_use(directory) <= ROOM
    survivor = DirectoryStore(directory, ROOM)
    assert any(survivor.get(f"key{number}") is not None for number in range(40))


def test_the_lock_holds_between_processes(directory: Path, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    counters = [start(directory, "count", counter, 50) for _ in range(3)]
    assert [process.wait(60) for process in counters] == [0, 0, 0]
    assert counter.read_text() == "150"


def test_a_killed_holder_frees_the_lock(directory: Path, store: DirectoryStore) -> None:
    holder = start(directory, "hold", "a")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    entered = threading.Event()

    def enter() -> None:
        with store.lock("a"):
            entered.set()

    waiter = threading.Thread(target=enter)
    waiter.start()
    assert not entered.wait(0.1)
    holder.kill()
    assert entered.wait(4)
    waiter.join()
    holder.wait()
    holder.stdout.close()


def disk_use(directory: Path) -> int:
    files = [path for path in directory.iterdir() if path.is_file() and not path.name.startswith(TEMPORARY)]
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in files)


def test_what_is_used_is_known_to_other_processes(directory: Path, until: Callable[..., None]) -> None:
    """The order of use is kept on the disk: a new process evicts what no other one used."""
    store = DirectoryStore(directory, ROOM)
    for number in range(20):
        store.put(f"k{number}", bytes(40_000))
    store.get("k0")
    smaller = DirectoryStore(directory, 200_000)
    smaller.put("new", bytes(40_000))
    assert smaller.get("k0") is not None
    assert smaller.get("k1") is None
