"""A file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from maskloop.annotate.output import LocalOutput, RemoteOutput, open_output
from maskloop.annotate.values import AnnotateError


def test_a_local_file_is_written_below_folders_that_are_made(tmp_path: Path) -> None:
    open_output(str(tmp_path / "out")).write("labels/a/b.txt", [b"one", b"two"])
    assert (tmp_path / "out" / "labels" / "a" / "b.txt").read_bytes() == b"onetwo"
    assert [path.name for path in (tmp_path / "out" / "labels" / "a").iterdir()] == ["b.txt"]


def test_the_longest_name_that_a_file_can_have(tmp_path: Path) -> None:
    open_output(str(tmp_path)).write("x" * 255, [b"1"])
    assert (tmp_path / ("x" * 255)).read_bytes() == b"1"


@pytest.mark.parametrize("late", [False, True], ids=["in the middle", "at the end"])
def test_a_disk_that_fills_up_leaves_the_old_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def filling() -> Iterator[bytes]:
        yield b"half"
        if not late:
            full()

    output = open_output(str(tmp_path))
    output.write("a.json", [b"old"])
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AnnotateError, match="No space left") as refused:
        output.write("a.json", filling())
    assert "run the same command again" in refused.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.json": b"old"}


def test_a_folder_that_cannot_be_written_is_noticed_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnnotateError, match="can't be written"):
        open_output(str(tmp_path / "file")).check()
    open_output(str(tmp_path / "new")).check()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_link_replaces_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    output = LocalOutput(tmp_path / "out")
    for _ in range(2):
        output.link("images/p.jpg", tmp_path / "photo.jpg")
    assert (tmp_path / "out" / "images" / "p.jpg").read_bytes() == b"photo"


class Flaky(MemoryFileSystem):
    """Drops the connection half-way through an upload, ``failures`` times."""

    protocol = "flaky"
    store: dict[str, object] = {}  # noqa: RUF012, as fsspec has it
    pseudo_dirs = [""]  # noqa: RUF012
    failures = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("flaky://", "memory://"))  # type: ignore[no-any-return]

    def put_file(self, lpath: str, rpath: str, **kwargs: object) -> None:
        if type(self).failures:
            type(self).failures -= 1
            self.pipe_file(rpath, Path(lpath).read_bytes()[:2])
            raise ConnectionResetError("connection lost")
        self.pipe_file(rpath, Path(lpath).read_bytes())


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> type[Flaky]:
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    monkeypatch.setattr(Flaky, "store", {})
    monkeypatch.setattr(Flaky, "pseudo_dirs", [""])
    monkeypatch.setattr(Flaky, "failures", 0)
    fsspec.filesystem("flaky").mkdir("/bucket")
    return Flaky


def test_an_upload_that_is_interrupted_is_tried_again(flaky: type[Flaky]) -> None:
    flaky.failures = 2
    output = open_output("flaky://bucket/out")
    output.write("a.json", [b"whole"])
    fs = fsspec.filesystem("flaky")
    assert fs.cat_file("/bucket/out/a.json") == b"whole"
    assert [Path(path).name for path in fs.find("/bucket")] == ["a.json"]


def test_an_upload_that_stays_interrupted_leaves_the_old_file(flaky: type[Flaky]) -> None:
    output = RemoteOutput("flaky://bucket/out")
    output.write("a.json", [b"old"])
    flaky.failures = 99
    with pytest.raises(AnnotateError, match="connection lost"):
        output.write("a.json", [b"whole"])
    assert fsspec.filesystem("flaky").cat_file("/bucket/out/a.json") == b"old"
    with pytest.raises(AnnotateError, match="connection lost"):
        output.check()


def test_checking_a_remote_folder_leaves_nothing_there(flaky: type[Flaky]) -> None:
    open_output("flaky://bucket/out").check()
    assert fsspec.filesystem("flaky").find("/bucket") == []


def test_a_folder_of_this_machine_can_be_named_by_its_url(tmp_path: Path) -> None:
    output = open_output(f"file://{tmp_path}/out")
    output.check()
    output.write("a.json", [b"whole"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.json"]


def test_a_misspelt_bucket_is_not_made(flaky: type[Flaky]) -> None:
    with pytest.raises(AnnotateError, match="there is no /buckte"):
        open_output("flaky://buckte/out").check()
    assert not fsspec.filesystem("flaky").exists("/buckte")
