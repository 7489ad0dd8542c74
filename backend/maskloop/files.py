"""Files that are whole or as they were, and those that keep others waiting."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from maskloop.errors import StorageError


def give_to_owner(path: Path) -> None:
    """What root makes belongs to the owner of the folder that it is in, as SQLite has it too: whose data that is reads
    it later."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        with suppress(OSError):  # another machine's file system, where root is nobody
            os.chown(path, owner.st_uid, owner.st_gid)


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Raises StorageError where the disk fails."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path} can't be written: {error.strerror or error}.") from error


@contextmanager
def replacing(path: Path, mode: int = 0o666) -> Iterator[BytesIO]:
    """What is written in the block becomes ``path`` at its end, once the disk has it.

    It is written beside it, as NAME.*.part, and removed if the disk fails: ``path`` is as it was then, as it is if the
    block fails. mode: its permissions, less the umask. Raises StorageError.
    """
    content = BytesIO()
    yield content
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    with storing(path):
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            give_to_owner(part)
            part.rename(path)
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)  # of its name
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other thread or process holds this file, and hold it; it is made if it isn't there. Raises
    StorageError if it can't be."""
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
        give_to_owner(path)
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
