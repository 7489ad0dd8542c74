"""Segmenters as the settings want them."""

from __future__ import annotations

from typing import NamedTuple

import redis

from maskloop.cache import DirectoryStore, ImageIndex, MemoryStore, RedisStore, Store, TieredStore
from maskloop.engines.base import Engine
from maskloop.images import ImageLoader, ImagePolicy
from maskloop.inference.segmenter import Segmenter
from maskloop.settings import Settings

INDEX_MEMORY = 4 << 20
INDEX_SHARED = 64 << 20
"""Bytes of the index of images: for some ten thousand of them."""


class Shared(NamedTuple):
    """What all segmenters of one process have in common: where images come from, and what is known of them."""

    loader: ImageLoader
    values: Store
    images: ImageIndex


def open_shared(settings: Settings) -> Shared:
    """Shared in turn with the other workers of this machine, by a directory below ``settings.data_dir``, or of several
    machines, by a Redis."""
    values = open_store("values", settings.memory_cache_bytes, settings.shared_cache_bytes, settings)
    index = open_store("images", INDEX_MEMORY, min(INDEX_SHARED, settings.shared_cache_bytes), settings)
    return Shared(ImageLoader(ImagePolicy.from_settings(settings)), values, ImageIndex(index))


def open_segmenter(engine: Engine, settings: Settings, *, model: str, shared: Shared | None = None) -> Segmenter:
    """``model`` names the weights: their version and, since a name may be given twice, their hash. ``shared``: by
    default its own."""
    return Segmenter(engine, *(shared or open_shared(settings)), model=model)


def open_store(name: str, memory_bytes: int, shared_bytes: int, settings: Settings) -> Store:
    """A tier in memory, over one that is shared if that may have any bytes."""
    near = MemoryStore(memory_bytes)
    if not shared_bytes:
        return near
    if settings.shared_cache_redis_url is None:
        return TieredStore([near, DirectoryStore(settings.data_dir / "cache" / name, shared_bytes)])
    client = redis.Redis.from_url(settings.shared_cache_redis_url, socket_connect_timeout=1, socket_timeout=2)
    return TieredStore([near, RedisStore(client, shared_bytes, f"maskloop:cache:1:{name}")])
