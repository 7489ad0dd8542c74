"""The interface of a cache of bytes, and what its tiers have in common."""

from __future__ import annotations

import hashlib
import logging
import time
from contextlib import AbstractContextManager
from typing import Protocol

log = logging.getLogger(__name__)

Value = bytes | memoryview
PATIENCE = 5.0
"""How long to wait for somebody else's work on the same key before doing it as well, seconds."""


class Store(Protocol):
    """Values by key, bounded in bytes; the least recently used go first. Usable by several threads at once.

    A cache, not a record: a value may be gone at any time, and no trouble with it (a full disk, a broken file, an
    unreachable server) is ever an error of its user: it is logged once and looks like a miss.
    """

    def get(self, key: str) -> Value | None:
        """The value put last, unaltered, or None."""
        ...

    def put(self, key: str, value: Value) -> None:
        """Keeps ``value``, which must not be altered afterwards."""
        ...

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Held by one user of this store at a time (and, rarely, for an unrelated key too), so that many who miss the
        same key don't all do the same work. Not reentrant. A courtesy: after ``PATIENCE`` seconds it is entered
        although somebody else is inside, and the holder's death frees it."""
        ...


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class Trouble:
    """Logs the first failure of a store, and says for a while after each one that the store is better left alone."""

    def __init__(self, what: str, pause: float) -> None:
        self._what = what
        self._pause = pause
        self._until = 0.0
        self._said = False

    @property
    def lasts(self) -> bool:
        return time.monotonic() < self._until

    def note(self, error: Exception) -> None:
        self._until = time.monotonic() + self._pause
        if not self._said:
            self._said = True
            log.warning("%s can't be used, going on without it: %s", self._what, error)
