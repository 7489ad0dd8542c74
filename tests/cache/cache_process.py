"""A process that uses a cache directory, for tests of several at once.

``python cache_process.py DIRECTORY hammer SEED COUNT``: random puts and gets; exits 1 on a value of another key.
``python cache_process.py DIRECTORY count FILE COUNT``: adds 1 to the number in FILE, COUNT times, under the lock.
``python cache_process.py DIRECTORY hold KEY``: takes the lock, says "held", and keeps it until it is killed.
``python cache_process.py DIRECTORY limited KEY``: puts and gets where no file may grow beyond 4096 bytes.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
from pathlib import Path

from maskloop.cache.directory import DirectoryStore

LIMIT = 1 << 20
KEYS = 40


def value_of(key: str, turn: int) -> bytes:
    """A value that tells whether it is one of its key's, and whole."""
    line = f"{key}:{turn};".encode()
    return line * (1 + turn % 5000)


def is_value_of(key: str, value: bytes) -> bool:
    line = value.partition(b";")[0]
    name, _, turn = line.decode().partition(":")
    return name == key and value == value_of(key, int(turn))


def hammer(store: DirectoryStore, seed: int, count: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        key = f"key{rng.randrange(KEYS)}"
        if rng.random() < 0.5:
            store.put(key, value_of(key, rng.randrange(100_000)))
        elif (value := store.get(key)) is not None and not is_value_of(key, bytes(value)):
            sys.exit(1)


def count_up(store: DirectoryStore, file: Path, count: int) -> None:
    for _ in range(count):
        with store.lock("counter"):
            file.write_text(str(int(file.read_text()) + 1))


def hold(store: DirectoryStore, key: str) -> None:
    with store.lock(key):
        print("held", flush=True)
        signal.pause()


def limited(store: DirectoryStore, key: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    for _ in range(3):
        store.put(key, b"x" * 100_000)
        print(store.get(key) is None, flush=True)


if __name__ == "__main__":
    directory, role, *rest = sys.argv[1:]
    store = DirectoryStore(Path(directory), LIMIT)
    match role:
        case "hammer":
            hammer(store, int(rest[0]), int(rest[1]))
        case "count":
            count_up(store, Path(rest[0]), int(rest[1]))
        case "hold":
            hold(store, rest[0])
        case "limited":
            limited(store, rest[0])
