"""Only plain files within the limit are read from disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from maskloop.errors import ImageUnavailable, ImageUnreadable
from maskloop.images.disk import read_file
from maskloop.images.sources import DiskFile


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    os.utime(path, (1, 1))
    data, version = read_file(DiskFile(path, ""), 5)
    assert data == b"12345"
    assert version is not None


def test_a_file_over_the_limit_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"123456")
    with pytest.raises(ImageUnreadable, match="MASKLOOP_MAX_IMAGE_BYTES"):
        read_file(DiskFile(path, ""), 5)


def test_a_file_just_changed_has_no_version_yet(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    assert read_file(DiskFile(path, ""), 5) == (b"1", None)


def test_a_pipe_or_a_folder_is_no_image(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises((ImageUnreadable, ImageUnavailable)):
            read_file(DiskFile(path, ""), 5)


def test_a_link_put_in_place_after_the_check_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    with pytest.raises(ImageUnavailable):
        read_file(DiskFile(tmp_path / "a", ""), 100)


def test_a_file_gone_since_the_check_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(ImageUnavailable, match="can't be read"):
        read_file(DiskFile(tmp_path / "gone", ""), 100)
