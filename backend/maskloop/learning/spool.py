"""Events on their way to the database: one file each, on disk before anyone is answered.

The database may be slow, locked or down while Label Studio waits inside an annotator's save. A file in a directory
is neither: it is written, flushed to the disk and given its name in one step, so that it is whole or not there.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Literal, get_args

from maskloop.errors import StorageError, Unavailable
from maskloop.files import give_to_owner, replacing, storing

Source = Literal["label-studio", "maskloop"]
"""Who says so. A webhook's sender must not be able to pass for maskloop itself."""
NOT_OURS = "Give it to the user that maskloop runs as."
SUFFIXES = frozenset(f".{source}" for source in get_args(Source))


class FeedbackUnavailable(Unavailable):
    """Feedback can be neither kept nor read now: the disk is full, or the database is down."""

    code: ClassVar[str] = "feedback_unavailable"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that isn't in the database yet; ``received_at`` is in UTC."""

    path: Path
    source: Source
    received_at: datetime

    def read(self) -> bytes:
        return self.path.read_bytes()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


class Spool:
    """Safe for any number of threads and processes that write and drain at once. Every method raises
    FeedbackUnavailable if the disk fails."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def put(self, payload: bytes, source: Source) -> None:
        """Keep an event; it is on the disk when this returns."""
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex}.{source}"
        try:
            with storing(self.directory):
                self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                give_to_owner(self.directory)
            with replacing(self.directory / name, 0o600) as file:
                file.write(payload)
        except StorageError as error:
            denied = isinstance(error.__cause__, PermissionError)
            raise FeedbackUnavailable(
                error.message, NOT_OURS if denied else "Free the disk, or change data_dir."
            ) from error

    def waiting(self) -> Iterator[Waiting]:
        """The events that were waiting at the first step, oldest first."""
        for name in self._names():
            received, _, kind = name.partition("-")
            source: Source = "maskloop" if kind.endswith(".maskloop") else "label-studio"
            yield Waiting(self.directory / name, source, datetime.fromtimestamp(int(received) / 1e9, UTC))

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.directory.iterdir() if path.suffix in SUFFIXES)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise FeedbackUnavailable(f"{self.directory} can't be read: {error.strerror}.", NOT_OURS) from error
