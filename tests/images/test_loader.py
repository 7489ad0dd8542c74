"""From a reference to pixels, wherever they lie."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pydantic import SecretStr

from maskloop.errors import ImageRefused, ImageUnreadable
from maskloop.images import ImageLoader, ImagePolicy
from maskloop.images.sources import Remote
from maskloop.sam.values import Image


@pytest.fixture
def image(png: bytes) -> Image:
    return np.asarray(Pillow.open(io.BytesIO(png)))


@pytest.fixture
def loader(web: Any, png: bytes, tmp_path: Path) -> Iterator[ImageLoader]:
    (tmp_path / "a.png").write_bytes(png)
    web.gives("/data/upload/1/a.png", png)
    web.gives("/a.png", png, ETag='"1"')
    web.gives("/page", b"<html>Log in</html>", Content_Type="text/html")
    policy = ImagePolicy(label_studio=web.url, token=SecretStr("0" * 40), local_files_root=tmp_path)
    loader = ImageLoader(policy)
    yield loader
    loader.close()


def test_every_kind_of_reference_gives_the_same_pixels(loader: ImageLoader, image: Image, png: bytes, web: Any) -> None:
    for reference in (
        "/data/upload/1/a.png",
        "/data/local-files/?d=a.png",
        f"{web.url}/a.png",
        f"data:image/png;base64,{base64.b64encode(png).decode()}",
    ):
        assert np.array_equal(loader.load(reference), image)


def test_what_is_not_allowed_is_not_read(loader: ImageLoader, web: Any) -> None:
    with pytest.raises(ImageRefused):
        loader.load("https://example.org/a.png")
    assert web.seen == []


def test_a_page_in_place_of_an_image_is_named(loader: ImageLoader, web: Any) -> None:
    with pytest.raises(ImageUnreadable, match=r"/page.*text/html"):
        loader.load(f"{web.url}/page")


def test_limits_hold_for_every_kind(png: bytes, web: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png)
    web.gives("/a.png", png)
    references = ["/data/local-files/?d=a.png", f"{web.url}/a.png", f"data:;base64,{base64.b64encode(png).decode()}"]
    for limits in ({"max_bytes": len(png) - 1}, {"max_pixels": 11}):
        loader = ImageLoader(ImagePolicy(label_studio=web.url, local_files_root=tmp_path, **limits))
        for reference in references:
            with pytest.raises(ImageUnreadable, match="MASKLOOP_MAX_IMAGE"):
                loader.load(reference)
        loader.close()


def test_an_unchanged_image_is_known_by_its_etag(loader: ImageLoader, web: Any) -> None:
    source = loader.locate(f"{web.url}/a.png")
    assert isinstance(source, Remote)
    assert loader.read(source).etag == '"1"'
    web.gives("/a.png", b"", 304)
    assert loader.read_if_changed(source, etag='"1"') is None
