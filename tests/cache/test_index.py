"""An image that is known is recognised as long as nothing speaks for its having changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.cache import ImageIndex, Known
from maskloop.cache.index import FRESH
from maskloop.cache.memory import MemoryStore
from maskloop.sam.values import ImageSize

KNOWN = Known("f" * 64, ImageSize(480, 640), "v1", '"etag"', 1000.0)

entries = st.builds(
    Known,
    image=st.text(),
    size=st.builds(ImageSize, st.integers(1), st.integers(1)),
    version=st.none() | st.text(),
    etag=st.none() | st.text(),
    checked=st.floats(allow_nan=False),
)


@given(st.text(), entries)
def test_it_comes_back_as_it_was(key: str, known: Known) -> None:
    index = ImageIndex(MemoryStore(1 << 20))
    index.put(key, known)
    got = index.get(key)
    assert got == known
    assert got is not None
    assert isinstance(got.size, ImageSize)


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"[1, 2]", b"[1, {}]", b'[1, {"size": [1, 2]}]', b"\xff", json.dumps([2, {}]).encode()]
)
def test_what_is_no_entry_is_a_miss(data: bytes) -> None:
    store = MemoryStore(1 << 20)
    store.put("a", data)
    assert ImageIndex(store).get("a") is None


def test_an_image_with_a_version_holds_as_long_as_that_is_the_same() -> None:
    assert KNOWN.holds("v1", now=1e12)
    assert not KNOWN.holds("v2", now=1000.0)
    assert not KNOWN.holds(None, now=1000.0)


def test_an_image_without_a_version_holds_for_a_while() -> None:
    known = replace(KNOWN, version=None)
    assert known.holds(None, now=1000.0)
    assert known.holds(None, now=999.0 + FRESH)
    assert not known.holds(None, now=1000.0 + FRESH)
    assert not known.holds("v1", now=1000.0)


def test_a_clock_set_back_makes_nothing_hold_for_long() -> None:
    assert not replace(KNOWN, version=None).holds(None, now=500.0)
