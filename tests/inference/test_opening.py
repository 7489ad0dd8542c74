"""A segmenter is what the settings say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from maskloop.errors import ImageRefused
from maskloop.images import ImageLoader
from maskloop.inference import Segmenter, open_segmenter, open_shared
from maskloop.sam.values import Image
from maskloop.settings import Settings

A = "/data/local-files/?d=a.png"


@pytest.fixture
def opened(
    tmp_path: Path, root: Path, picture: Callable[..., Image], fake: SimpleNamespace
) -> Iterator[Callable[..., tuple[Segmenter, Any]]]:
    """Opens a segmenter as a worker would, and gives its engine too."""
    picture("a.png", 1)
    loaders: list[ImageLoader] = []

    def open_one(**settings: Any) -> tuple[Segmenter, Any]:
        engine = fake.FakeEngine()
        wanted = Settings(**{"data_dir": tmp_path / "data", "local_files_root": root, **settings})
        shared = open_shared(wanted)
        loaders.append(shared.loader)
        return open_segmenter(engine, wanted, model="official", shared=shared), engine

    yield open_one
    for loader in loaders:
        loader.close()


def encoded_by_two(opened: Callable[..., tuple[Segmenter, Any]], **settings: Any) -> list[int]:
    """How often each of two workers encodes an image that both need twice."""
    counts = []
    for segmenter, engine in (opened(**settings), opened(**settings)):
        segmenter.embedding(A)
        segmenter.embedding(A)
        counts.append(len(engine.encoded))
    return counts


def test_workers_of_one_machine_share_a_directory(opened: Callable[..., Any], tmp_path: Path) -> None:
    assert encoded_by_two(opened) == [1, 0]
    assert (tmp_path / "data" / "cache").is_dir()


def test_workers_of_several_machines_share_a_redis(
    opened: Callable[..., Any], tmp_path: Path, redis: Redis, redis_server: str
) -> None:
    assert encoded_by_two(opened, shared_cache_redis_url=redis_server) == [1, 0]
    assert not (tmp_path / "data").exists()


def test_without_bytes_to_share_each_keeps_its_own(opened: Callable[..., Any], tmp_path: Path) -> None:
    assert encoded_by_two(opened, shared_cache_bytes=0) == [1, 1]
    assert not (tmp_path / "data").exists()


def test_without_any_bytes_each_click_encodes(opened: Callable[..., Any]) -> None:
    assert encoded_by_two(opened, shared_cache_bytes=0, memory_cache_bytes=0) == [2, 2]


def test_the_policy_is_that_of_the_settings(opened: Callable[..., Any]) -> None:
    with pytest.raises(ImageRefused):
        opened(local_files_root=None)[0].embedding(A)
