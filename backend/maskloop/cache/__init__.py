"""What was computed once and may be wanted again, by identity: embeddings now, other values by the same means."""

from maskloop.cache.directory import DirectoryStore
from maskloop.cache.embeddings import EmbeddingCache
from maskloop.cache.identity import image_identity, joint_identity
from maskloop.cache.index import ImageIndex, Known
from maskloop.cache.memory import MemoryStore
from maskloop.cache.proposals import ProposalsCache
from maskloop.cache.redis_store import RedisStore
from maskloop.cache.store import Store
from maskloop.cache.tiers import TieredStore

__all__ = [
    "DirectoryStore",
    "EmbeddingCache",
    "ImageIndex",
    "Known",
    "MemoryStore",
    "ProposalsCache",
    "RedisStore",
    "Store",
    "TieredStore",
    "image_identity",
    "joint_identity",
]
