"""What is kept is whole, whatever fails while it is written."""

import errno
import os
import stat
from pathlib import Path

import pytest

from maskloop.errors import StorageError
from maskloop.files import locked, replacing


def test_a_file_is_replaced_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_text("old")
    with replacing(path, 0o600) as file:
        file.write(b"new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", ["block", "fsync"])
def test_what_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write() -> None:
        with replacing(path) as file:
            file.write(b"new")
            if fault == "block":
                full()

    path = tmp_path / "kept"
    path.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        expected = OSError if fault == "block" else StorageError
        with pytest.raises(expected, match="No space left"):
            write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for write in (replacing, locked):
        with pytest.raises(StorageError, match="file/kept can't be written"), write(tmp_path / "file" / "kept"):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_what_root_writes_is_the_folders_owners(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with replacing(tmp_path / "kept", 0o600), locked(tmp_path / "lock"):
        pass
    assert {path.name: path.stat().st_uid for path in tmp_path.iterdir()} == {"kept": 65534, "lock": 65534}
