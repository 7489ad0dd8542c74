"""What the tests of inference share: pictures on disk, and segmenters with an engine that needs no weights."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from maskloop.cache import DirectoryStore, ImageIndex, MemoryStore, TieredStore
from maskloop.images import ImageLoader, ImagePolicy
from maskloop.inference import Segmenter
from maskloop.sam.values import Image

SCRIPT = Path(__file__).parent / "segmenter_process.py"
LONG_AGO = 1_000_000_000


@pytest.fixture(scope="session")
def fake() -> SimpleNamespace:
    """``FakeEngine``, ``click``, ``expected`` and ``alternate`` of segmenter_process.py."""
    return SimpleNamespace(**{name: value for name, value in runpy.run_path(str(SCRIPT)).items() if name[0] != "_"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def picture(root: Path) -> Callable[..., Image]:
    """``picture(name, seed, height, width)`` writes an image of noise below the root and returns its pixels."""

    def write(name: str, seed: int, height: int = 30, width: int = 40, mtime: float = LONG_AGO) -> Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        Pillow.fromarray(pixels).save(root / name)
        os.utime(root / name, (mtime, mtime))
        return pixels

    return write


@pytest.fixture
def make(tmp_path: Path, root: Path, fake: SimpleNamespace) -> Iterator[Callable[..., Segmenter]]:
    """Makes a segmenter with caches below the test's folder; a second one shares them, as another worker would."""
    loaders: list[ImageLoader] = []

    def segmenter(engine: Any = None, memory: int = 64 << 20, model: str = "official", **policy: Any) -> Segmenter:
        store, index = (
            TieredStore([MemoryStore(memory), DirectoryStore(tmp_path / "cache" / name, 1 << 30)])
            for name in ("values", "images")
        )
        loader = ImageLoader(ImagePolicy(**{"local_files_root": root, **policy}))
        loaders.append(loader)
        return Segmenter(engine or fake.FakeEngine(), loader, store, ImageIndex(index), model=model)

    yield segmenter
    for loader in loaders:
        loader.close()
