"""What every store promises: the value put last or a miss, a bound in bytes, the least recently used out first, and a
lock that lets one in at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from maskloop.cache.directory import DirectoryStore
from maskloop.cache.memory import MemoryStore
from maskloop.cache.redis_store import RedisStore
from maskloop.cache.store import Store
from maskloop.cache.tiers import TieredStore

ROOM = 64 * 1024
KINDS = ["memory", "directory", "redis", "tiers"]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], Store]:
    """Makes an empty store of that many bytes."""
    client: Redis | None = request.getfixturevalue("redis") if request.param == "redis" else None

    def store(max_bytes: int) -> Store:
        match request.param:
            case "memory":
                return MemoryStore(max_bytes)
            case "directory":
                return DirectoryStore(tmp_path / "cache", max_bytes)
            case "tiers":
                return TieredStore([MemoryStore(max_bytes // 4), DirectoryStore(tmp_path / "cache", max_bytes)])
        assert client is not None
        return RedisStore(client, max_bytes)

    return store


@pytest.fixture
def store(make: Callable[[int], Store]) -> Store:
    return make(ROOM)


def test_an_unknown_key_is_a_miss(store: Store) -> None:
    assert store.get("never put") is None


@pytest.mark.parametrize("key", ["a", "", "../../etc/passwd", "a/b", "ä" * 500, "https://example.org/?a=b", "\0"])
@pytest.mark.parametrize("value", [b"", b"\0", b"value", bytes(range(256)) * 40])
def test_a_value_comes_back_as_it_was(store: Store, key: str, value: bytes) -> None:
    store.put(key, value)
    got = store.get(key)
    assert got is not None
    assert bytes(got) == value


def test_a_memoryview_may_be_put(store: Store) -> None:
    store.put("a", memoryview(b"0123456789")[2:5])
    got = store.get("a")
    assert got is not None
    assert bytes(got) == b"234"


def test_the_last_value_of_a_key_counts(store: Store) -> None:
    for value in (b"1", b"22", b""):
        store.put("a", value)
        assert store.get("a") == value


def test_keys_are_told_apart(store: Store) -> None:
    for number in range(10):
        store.put(f"k{number}", str(number).encode())
    assert [store.get(f"k{number}") for number in range(10)] == [str(number).encode() for number in range(10)]


def test_it_stays_within_its_bytes(store: Store) -> None:
    for number in range(100):
        store.put(f"k{number}", bytes(4000))
    kept = [number for number in range(100) if store.get(f"k{number}") is not None]
    assert 8 <= len(kept) <= ROOM // 4000
    assert kept == list(range(100 - len(kept), 100)), "the newest stay"


def test_what_is_used_stays(store: Store) -> None:
    store.put("used", bytes(4000))
    for number in range(100):
        store.put(f"k{number}", bytes(4000))
        assert store.get("used") is not None


def test_a_value_put_again_and_again_takes_its_room_once(store: Store) -> None:
    store.put("other", b"other")
    for _ in range(100):
        store.put("a", bytes(4000))
    assert store.get("other") is not None


def test_a_value_larger_than_the_store_is_not_kept(store: Store) -> None:
    store.put("small", b"small")
    store.put("huge", bytes(ROOM + 1))
    assert store.get("huge") is None
    assert store.get("small") == b"small"


def test_a_store_of_no_bytes_keeps_nothing(make: Callable[[int], Store]) -> None:
    store = make(0)
    store.put("a", b"value")
    assert store.get("a") is None


def test_the_lock_lets_one_in_at_a_time(store: Store) -> None:
    inside = 0
    most = 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(25):
            with store.lock("a"):
                inside += 1
                time.sleep(0)  # lets the others run
                most = max(most, inside)
                inside -= 1

    run_at_once(4, work)
    assert most == 1


def test_the_lock_is_free_after_an_error_inside(store: Store) -> None:
    with pytest.raises(ValueError, match="inside"), store.lock("a"):
        raise ValueError("inside")
    with store.lock("a"):
        pass


def test_a_lock_held_too_long_is_passed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("memory", "directory", "redis_store"):
        monkeypatch.setattr(f"maskloop.cache.{module}.PATIENCE", 0.05)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with store.lock("a"):
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    with store.lock("a"):
        assert not done.is_set()
    done.set()
    holder.join()


def test_threads_may_use_it_at_once(store: Store) -> None:
    wrong: list[Any] = []

    def work() -> None:
        for turn in range(40):
            key = f"k{turn % 7}"
            store.put(key, key.encode() * 300)
            got = store.get(key)
            if got is not None and bytes(got) != key.encode() * 300:
                wrong.append(got)

    run_at_once(4, work)
    assert not wrong


def test_a_near_tier_takes_what_a_far_one_has() -> None:
    near, far = MemoryStore(100), MemoryStore(100)
    far.put("a", b"value")
    assert TieredStore([near, far]).get("a") == b"value"
    assert near.get("a") == b"value"


def test_a_put_reaches_every_tier() -> None:
    near, far = MemoryStore(100), MemoryStore(100)
    TieredStore([near, far]).put("a", b"value")
    assert near.get("a") == far.get("a") == b"value"


def run_at_once(count: int, work: Callable[[], None]) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture(autouse=True)
def no_thread_is_left(redis_server: str) -> Iterator[None]:
    """But the one of the session's Redis."""
    before = threading.active_count()
    yield
    assert threading.active_count() == before
