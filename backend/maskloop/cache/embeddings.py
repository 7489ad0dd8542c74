"""Embeddings in a store of bytes."""

from __future__ import annotations

import math
import struct
from contextlib import AbstractContextManager

import numpy as np

from maskloop.cache.identity import joint_identity
from maskloop.cache.store import Store, Value
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, ImageSize

MAGIC = b"emb\x01"
"""The last byte is the version of the layout."""
HEADER = struct.Struct("<4sII4x")
"""Magic, height and width of the image; the features follow as float16, little-endian."""


def encode_embedding(embedding: Embedding) -> bytes:
    features = np.ascontiguousarray(embedding.features, dtype="<f2")
    return b"".join((HEADER.pack(MAGIC, *embedding.size), features.data.cast("B")))


def decode_embedding(data: Value) -> Embedding | None:
    """The embedding in ``data``, whose features can't be written to; None if it is of another version."""
    if len(data) != HEADER.size + 2 * math.prod(EMBEDDING_SHAPE):
        return None
    magic, height, width = HEADER.unpack_from(data)
    if magic != MAGIC:
        return None
    features = np.frombuffer(data, dtype="<f2", offset=HEADER.size).reshape(EMBEDDING_SHAPE)
    return Embedding(features, ImageSize(height, width))


class EmbeddingCache:
    """Embeddings by identity. What is in the store and isn't an embedding of this version is a miss."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @staticmethod
    def identity(image: str, engine: str) -> str:
        """Of the embedding that the engine with identity ``engine`` makes of the image with identity ``image``."""
        return joint_identity("embedding", image, engine)

    def get(self, identity: str) -> Embedding | None:
        data = self._store.get(identity)
        return None if data is None else decode_embedding(data)

    def put(self, identity: str, embedding: Embedding) -> None:
        self._store.put(identity, encode_embedding(embedding))

    def lock(self, identity: str) -> AbstractContextManager[None]:
        """See :meth:`maskloop.cache.store.Store.lock`."""
        return self._store.lock(identity)
