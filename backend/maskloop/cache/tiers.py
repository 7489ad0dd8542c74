"""Several stores as one: the near and small before the far and large."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

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
