"""A killed run goes on where it stopped: no photo twice, none lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maskloop.annotate.journal import Journal
from maskloop.annotate.values import Annotated, AnnotateError, Source

MakePhoto = Callable[..., Annotated]
OPTIONS: dict[str, Any] = {"points": 32, "classes": ["cat"]}


def reopen(path: Path) -> list[str]:
    with Journal(path, OPTIONS) as journal:
        return [photo.source.name for photo in journal.select([Source(f"/photos/{name}", name) for name in "abcd"])]


def test_what_was_added_is_there_after_reopening(tmp_path: Path, make_photo: MakePhoto) -> None:
    photo = make_photo("a", (1, 2, 3, 4))
    with Journal(tmp_path / "deep" / "j", OPTIONS) as journal:
        journal.add([photo])
    with Journal(tmp_path / "deep" / "j", OPTIONS) as journal:
        assert photo.source in journal
        assert list(journal.select([photo.source])) == [photo]


def test_a_photo_that_was_replaced_is_not_done_and_its_last_state_counts(tmp_path: Path, make_photo: MakePhoto) -> None:
    old, new = (replace(make_photo("a", (1, 2, 3 + n, 4)), source=Source("/photos/a", "a", f"{n}")) for n in (1, 2))
    unknown = Source("/photos/a", "a")
    with Journal(tmp_path / "j", OPTIONS) as journal:
        journal.add([old])
        assert old.source in journal
        assert new.source not in journal
        journal.add([new])
    with Journal(tmp_path / "j", OPTIONS) as journal:
        assert len(journal) == 1
        assert new.source in journal
        assert old.source not in journal
        assert unknown in journal
        assert list(journal.select([new.source])) == [new]


def test_photos_come_back_in_the_order_asked_for_and_only_those(tmp_path: Path, make_photo: MakePhoto) -> None:
    with Journal(tmp_path / "j", OPTIONS) as journal:
        journal.add([make_photo("c"), make_photo("x"), make_photo("a")])
    assert reopen(tmp_path / "j") == ["a", "c"]


def test_a_photo_is_never_kept_twice(tmp_path: Path, make_photo: MakePhoto) -> None:
    with Journal(tmp_path / "j", OPTIONS) as journal:
        journal.add([make_photo("a", (0, 0, 5, 5))])
        journal.add([make_photo("a"), make_photo("b")])
        assert len(journal) == 2
    assert (tmp_path / "j").read_text().count('"name":"a"') == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(cut=st.integers(0, 10_000))
def test_a_file_cut_anywhere_keeps_its_whole_lines_and_goes_on(tmp_path: Path, make_photo: MakePhoto, cut: int) -> None:
    path = tmp_path / "j"
    path.unlink(missing_ok=True)
    with Journal(path, OPTIONS) as journal:
        journal.add([make_photo("a", (1, 1, 9, 9)), make_photo("b")])
    whole = path.read_bytes()
    left = whole[: cut % (len(whole) + 1)]
    path.write_bytes(left)
    kept = [["a", "b"][line] for line in range(max(0, left.count(b"\n") - 1))]
    assert reopen(path) == kept
    with Journal(path, OPTIONS) as journal:
        journal.add([make_photo("c")])
    assert reopen(path) == [*kept, "c"]


def test_a_process_killed_while_it_writes_loses_nothing_it_had_kept(tmp_path: Path) -> None:
    script = """
import sys
from maskloop.annotate.journal import Journal
from maskloop.annotate.values import Annotated, Source
from maskloop.sam.values import ImageSize
with Journal(sys.argv[1], {}) as journal:
    for number in range(10**9):
        journal.add([Annotated(Source(str(number), "x" * 5000), ImageSize(1, 1), ())])
        print(number, flush=True)
""".replace("sys.argv[1]", "__import__('pathlib').Path(sys.argv[1])")
    path = tmp_path / "j"
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if int(line) == 30:
            process.send_signal(signal.SIGKILL)
            break
    told = [30, *(int(line) for line in process.stdout)][-1]
    process.wait()
    with Journal(path, {}) as journal:
        assert all(Source(str(number), "") in journal for number in range(told + 1))
        assert told + 1 <= len(journal) <= told + 2


def test_other_options_are_refused_and_named(tmp_path: Path) -> None:
    Journal(tmp_path / "j", OPTIONS).__exit__(None, None, None)
    with pytest.raises(AnnotateError, match="points: 32 then, 16 now") as refused:
        Journal(tmp_path / "j", {**OPTIONS, "points": 16})
    assert "--fresh" in refused.value.hint


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", OPTIONS), pytest.raises(AnnotateError, match="Another run"):
        Journal(tmp_path / "j", OPTIONS)
    with Journal(tmp_path / "j", OPTIONS):
        pass


@pytest.mark.parametrize("content", [b"hello\n", b"[1]\n", b'{"a": 1}\n', b"\x80\n"])
def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "j").write_bytes(content)
    with pytest.raises(AnnotateError):
        Journal(tmp_path / "j", OPTIONS)
    assert (tmp_path / "j").read_bytes() == content


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AnnotateError, match="can't be written"):
        Journal(tmp_path / "file" / "j", OPTIONS)


def test_a_full_disk_keeps_what_was_there(
    tmp_path: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def fill(file: int, content: bytes, at: int) -> int:
        if b'"name":"b"' in content:
            return write(file, content[:20], at)
        if b'"name":"a"' not in content and b"maskloop" not in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content, at)

    monkeypatch.setattr(os, "pwrite", fill)
    with Journal(tmp_path / "j", OPTIONS) as journal:
        journal.add([make_photo("a")])
        with pytest.raises(AnnotateError, match="No space left") as refused:
            journal.add([make_photo("b")])
        assert "run the same command again" in refused.value.hint
        assert Source("/photos/b", "b") not in journal
    assert reopen(tmp_path / "j") == ["a"]


def test_names_of_any_bytes_survive(tmp_path: Path, make_photo: MakePhoto) -> None:
    name = os.fsdecode("naïve\n☃".encode() + b"\xff")
    with Journal(tmp_path / "j", OPTIONS) as journal:
        journal.add([make_photo(name)])
    with Journal(tmp_path / "j", OPTIONS) as journal:
        source = Source(f"/photos/{name}", name)
        assert [photo.source for photo in journal.select([source])] == [source]


def test_what_the_disk_does_not_confirm_is_not_kept(
    tmp_path: Path, make_photo: MakePhoto, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path / "j", OPTIONS) as journal:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(AnnotateError, match="No space left"):
            journal.add([make_photo("a")])
    assert reopen(tmp_path / "j") == []
