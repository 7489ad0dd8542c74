"""What is done, on disk, before anything else happens: a killed run goes on where it stopped.

A JSON Lines file: a header, then one line a photo, appended and synced when the photo is done. A line cut short by a
crash has no newline and is dropped on opening: its photo counts as not done. One run at a time holds the file's lock.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from maskloop.annotate.values import Annotated, AnnotateError, Source

VERSION = 1


class Journal:
    """The photos done so far.

    Raises :class:`AnnotateError` when the file can't be written, is in use by another run, or was made with
    ``options`` other than these.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path = path
        self._offsets: dict[str, int] = {}
        self._stamps: dict[str, str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise AnnotateError(f"{path} can't be written: {error.strerror}.") from error
        try:
            self._lock()
            self._load({"maskloop": "annotate", "version": VERSION, "options": options})
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._file)

    def __contains__(self, photo: Source) -> bool:
        """Whether the photo is done, and still the same."""
        done = self._stamps.get(photo.reference)
        return done is not None and (done == photo.stamp or not done or not photo.stamp)

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, done: Iterable[Annotated]) -> None:
        """Keep these photos; when this returns they outlive a crash. One that is there already stays as it is, unless
        the photo is another now."""
        lines = {
            each.source.reference: (each.source, _line(each.to_json())) for each in done if each.source not in self
        }
        self._append(b"".join(line for _, line in lines.values()))
        for source, line in lines.values():
            self._keep(source.reference, source.stamp, len(line))

    def select(self, photos: Iterable[Source]) -> Selection:
        """Those of ``photos`` that are done, under the names that they have here."""
        return Selection(self.path, [(each, self._offsets[each.reference]) for each in photos if each in self])

    def _keep(self, reference: str, stamp: str, length: int) -> None:
        """The last line of a photo counts."""
        self._offsets[reference], self._stamps[reference] = self._end, stamp
        self._end += length

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AnnotateError(
                f"Another run is writing {self.path}.", "Wait for it, or choose another --out."
            ) from error

    def _load(self, header: dict[str, Any]) -> None:
        self._end = 0
        with open(self._file, "rb", closefd=False) as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                document = self._parse(line)
                if number == 0:
                    self._check(document, header)
                else:
                    source = document["source"]
                    self._keep(source["reference"], source.get("stamp", ""), len(line))
                    continue
                self._end += len(line)
        os.truncate(self._file, self._end)
        if not self._end:
            line = _line(header)
            self._append(line)
            self._end = len(line)

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            document = json.loads(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise AnnotateError(f"{self.path} is damaged or no journal of maskloop.", "--fresh starts over.")
        return document

    def _check(self, found: dict[str, Any], header: dict[str, Any]) -> None:
        if found == json.loads(_line(header)):
            return
        was, now = found.get("options") or {}, header["options"]
        changed = [f"{key}: {was.get(key)} then, {now[key]} now" for key in now if was.get(key) != now[key]]
        raise AnnotateError(
            f"{self.path} was begun with other options ({'; '.join(changed) or 'of another version'}).",
            "Use those, choose another --out, or start over with --fresh.",
        )

    def _append(self, content: bytes) -> None:
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(self._file, content[written:], self._end + written)
            os.fsync(self._file)
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._file, self._end)
            raise AnnotateError(
                f"{self.path} can't be written: {error.strerror}.",
                "What was done before is kept: make room and run the same command again.",
            ) from error


class Selection:
    """Photos of a journal, read from disk each time they are iterated, one in memory at a time."""

    def __init__(self, path: Path, places: Sequence[tuple[Source, int]]) -> None:
        self._path = path
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Annotated]:
        with self._path.open("rb") as file:
            for source, offset in self._places:
                file.seek(offset)
                yield Annotated.of(source, json.loads(file.readline()))


def _line(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
