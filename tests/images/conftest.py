"""What the tests of images share."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow


@pytest.fixture
def png() -> bytes:
    """4 x 3 pixels, each of its own colour."""
    pixels = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 7
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """A name server: the addresses that each look-up of a name gives in turn, the last for good."""
    book: dict[str, list[list[str]]] = {}

    def look_up(host: str, port: int) -> list[str]:
        answers = book.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr("maskloop.images.fetch.look_up", look_up)
    return book
