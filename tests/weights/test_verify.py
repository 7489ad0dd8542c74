"""A file that is not the one that the manifest names is never loaded."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from maskloop.errors import WeightsError
from maskloop.weights import Manifest, verified_path

CONTENT = b"weights" * 1000
MANIFEST = Manifest(
    name="Test",
    file="test.pt",
    size=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="-",
    sources=(),
)


@pytest.mark.parametrize("content", [None, b"", CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + b"x"])
def test_only_the_very_file_is_verified(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "test.pt").write_bytes(content)
    with pytest.raises(WeightsError, match="maskloop weights fetch"):
        verified_path(tmp_path, MANIFEST)
    (tmp_path / "test.pt").write_bytes(CONTENT)
    assert verified_path(tmp_path, MANIFEST) == tmp_path / "test.pt"
