"""Automatic masks in a store of bytes."""

from __future__ import annotations

from contextlib import AbstractContextManager

from maskloop.cache.identity import joint_identity
from maskloop.cache.store import Store
from maskloop.sam.automatic import AutomaticSettings
from maskloop.sam.proposals import Proposals


class ProposalsCache:
    """Proposals by identity. What is in the store and isn't an archive of proposals is a miss."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def identity(embedding: str, model: str, settings: AutomaticSettings) -> str:
        """Of what the decoder of ``model`` finds in the embedding with identity ``embedding``."""
        return joint_identity("proposals", embedding, model, repr(settings))

    def get(self, identity: str) -> Proposals | None:
        data = self._store.get(identity)
        if data is None:
            return None
        try:
            return Proposals.from_bytes(bytes(data))
        except ValueError:
            return None

    def put(self, identity: str, proposals: Proposals) -> None:
        self._store.put(identity, proposals.to_bytes())

    def lock(self, identity: str) -> AbstractContextManager[None]:
        """See :meth:`maskloop.cache.store.Store.lock`."""
        return self._store.lock(identity)
