"""An event is on the disk, whole, before anyone is answered."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from maskloop.learning.spool import FeedbackUnavailable, Spool


def test_events_wait_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(20):
        spool.put(b"%d" % number, "label-studio" if number % 2 else "maskloop")
    waiting = list(spool.waiting())
    assert [one.read() for one in waiting] == [b"%d" % number for number in range(20)]
    assert [one.source for one in waiting] == ["maskloop", "label-studio"] * 10
    assert waiting == sorted(waiting, key=lambda one: one.received_at)


def test_writers_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    payloads = [os.urandom(1000) for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda payload: spool.put(payload, "label-studio"), payloads))
    assert sorted(one.read() for one in spool.waiting()) == sorted(payloads)


def test_a_half_written_event_is_not_one(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(b"{}", "maskloop")
    (whole,) = spool.waiting()
    whole.path.with_name(f"{whole.path.name}.part").write_bytes(b"{")
    assert len(spool) == 1
    whole.remove()
    whole.remove()
    assert len(spool) == 0


def test_only_the_owner_reads_what_people_drew(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    spool.put(b"{}", "maskloop")
    (waiting,) = spool.waiting()
    assert waiting.path.stat().st_mode & 0o777 == 0o600
    assert spool.directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeedbackUnavailable, match=r"can't be written.*Free the disk"):
        Spool(tmp_path / "file").put(b"{}", "maskloop")


def test_a_directory_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FeedbackUnavailable, match=r"can't be read.*Give it to the user"):
        len(Spool(tmp_path / "file"))


def test_whose_directory_it_has_to_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(FeedbackUnavailable, match=r"Permission denied.*Give it to the user"):
        Spool(tmp_path).put(b"{}", "maskloop")
