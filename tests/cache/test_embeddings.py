"""An embedding comes back bit for bit; anything else in its place is a miss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.cache import EmbeddingCache
from maskloop.cache.embeddings import decode_embedding, encode_embedding
from maskloop.cache.memory import MemoryStore
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, ImageSize


def embedding(seed: int = 0, height: int = 480, width: int = 640) -> Embedding:
    bits = np.random.default_rng(seed).integers(0, 1 << 16, EMBEDDING_SHAPE, np.uint16)
    return Embedding(bits.view(np.float16), ImageSize(height, width))


@given(st.integers(1, 1 << 31), st.integers(1, 1 << 31))
def test_it_comes_back_bit_for_bit(height: int, width: int) -> None:
    """Every bit pattern: infinities and not-a-numbers too."""
    put = embedding(height % 3, height, width)
    got = decode_embedding(encode_embedding(put))
    assert got is not None
    assert got.size == put.size
    assert (got.features.dtype, got.features.shape) == (np.float16, EMBEDDING_SHAPE)
    assert got.features.tobytes() == put.features.tobytes()


def test_it_need_not_lie_in_one_piece() -> None:
    plain = embedding()
    turned = Embedding(np.asfortranarray(plain.features), plain.size)
    assert encode_embedding(turned) == encode_embedding(plain)


def test_what_is_cached_cannot_be_altered() -> None:
    cache = EmbeddingCache(MemoryStore(1 << 24))
    cache.put("a", embedding())
    got = cache.get("a")
    assert got is not None
    with pytest.raises(ValueError, match="read-only"):
        got.features[0] = 0


@pytest.mark.parametrize("alter", [lambda b: b[:-1], lambda b: b + b"\0", lambda b: b"emb\x02" + b[4:], lambda b: b""])
def test_another_version_or_length_is_a_miss(alter: object) -> None:
    store = MemoryStore(1 << 24)
    store.put("a", alter(encode_embedding(embedding())))  # type: ignore[operator]
    assert EmbeddingCache(store).get("a") is None


def test_its_identity_is_that_of_image_and_engine() -> None:
    names = {EmbeddingCache.identity(image, engine) for image in ("i1", "i2") for engine in ("e1", "e2", "")}
    assert len(names) == 6
