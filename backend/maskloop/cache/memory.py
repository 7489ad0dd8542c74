"""The tier in this process's memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from maskloop.cache.store import PATIENCE, Value, digest

STRIPES = 64


class MemoryStore:
    """A :class:`~maskloop.cache.store.Store` of at most ``max_bytes`` of values."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._bytes = 0
        self._guard = threading.Lock()
        self._stripes = [threading.Lock() for _ in range(STRIPES)]

    def get(self, key: str) -> Value | None:
        with self._guard:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: str, value: Value) -> None:
        with self._guard:
            self._forget(key)
            if len(value) > self._max_bytes:
                return
            self._values[key] = value
            self._bytes += len(value)
            while self._bytes > self._max_bytes:
                self._forget(next(iter(self._values)))

    def _forget(self, key: str) -> None:
        old = self._values.pop(key, None)
        self._bytes -= len(old) if old is not None else 0

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        stripe = self._stripes[digest(key)[0] % STRIPES]
        held = stripe.acquire(timeout=PATIENCE)
        try:
            yield
        finally:
            if held:
                stripe.release()
