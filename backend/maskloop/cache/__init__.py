"""What was computed once and may be wanted again, by identity: embeddings now, other values by the same means."""

from maskloop.cache.embeddings import EmbeddingCache
from maskloop.cache.identity import image_identity, joint_identity
from maskloop.cache.index import ImageIndex, Known
from maskloop.cache.store import Store
from maskloop.cache.tiers import TieredStore, open_store

__all__ = [
    "EmbeddingCache",
    "ImageIndex",
    "Known",
    "Store",
    "TieredStore",
    "image_identity",
    "joint_identity",
    "open_store",
]
