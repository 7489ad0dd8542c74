"""From an image's reference to the identity of its pixels, so that a known image need not be read to be recognised."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

from maskloop.cache.store import Store
from maskloop.sam.values import ImageSize

FRESH = 300.0
"""How long an image without a version is taken to be the same before its host is asked again, seconds."""
LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Known:
    """What was learnt when an image was last read.

    image: identity of its pixels. size: in pixels.
    version: of the bytes, as far as it is known without reading them; None: only its host knows.
    etag: by which its host tells whether it has changed, if it gave one.
    checked: when it was read or its host last said that it is the same, seconds since the epoch.
    """

    image: str
    size: ImageSize
    version: str | None
    etag: str | None
    checked: float

    def holds(self, version: str | None, now: float) -> bool:
        """Whether the image whose version is ``version`` at the time ``now`` is still this one."""
        if version is None and self.version is None:
            return 0 <= now - self.checked < FRESH
        return version == self.version


class ImageIndex:
    """What is known of images, by the key of their source."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, key: str) -> Known | None:
        data = self._store.get(key)
        if data is None:
            return None
        try:
            layout, fields = json.loads(bytes(data))
            return Known(**(fields | {"size": ImageSize(*fields["size"])})) if layout == LAYOUT else None
        except (ValueError, TypeError, KeyError):
            return None

    def put(self, key: str, known: Known) -> None:
        self._store.put(key, json.dumps([LAYOUT, asdict(known)]).encode())

    def lock(self, key: str) -> AbstractContextManager[None]:
        """See :meth:`maskloop.cache.store.Store.lock`."""
        return self._store.lock(key)
