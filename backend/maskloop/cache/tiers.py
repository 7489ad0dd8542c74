"""Several stores as one: the near and small before the far and large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from maskloop.cache.directory import DirectoryStore
from maskloop.cache.memory import MemoryStore
from maskloop.cache.store import Store, Value


class TieredStore:
    """A :class:`~maskloop.cache.store.Store` over ``tiers``, nearest first: what a far one has, the nearer ones get."""

    def __init__(self, tiers: Sequence[Store]) -> None:
        self._tiers = tuple(tiers)

    def get(self, key: str) -> Value | None:
        for depth, tier in enumerate(self._tiers):
            value = tier.get(key)
            if value is not None:
                for nearer in self._tiers[:depth]:
                    nearer.put(key, value)
                return value
        return None

    def put(self, key: str, value: Value) -> None:
        for tier in self._tiers:
            tier.put(key, value)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        with ExitStack() as stack:
            for tier in self._tiers:
                stack.enter_context(tier.lock(key))
            yield


def open_store(memory_bytes: int, shared_bytes: int, shared: Path | Store) -> Store:
    """A tier in memory over one that is shared: a directory of at most ``shared_bytes``, or another store.

    With ``shared_bytes`` 0 nothing is shared.
    """
    far: Store | None = None
    if isinstance(shared, Path):
        far = DirectoryStore(shared, shared_bytes) if shared_bytes else None
    elif shared_bytes:
        far = shared
    return TieredStore([MemoryStore(memory_bytes), *([far] if far is not None else [])])
