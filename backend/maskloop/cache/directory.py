"""The tier on disk, shared by the processes of one machine (or of several, on a file system with atomic renames)."""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from maskloop.cache.store import PATIENCE, Trouble, Value, digest

MAGIC = b"mskloop\x01"
"""The last byte is the version of the layout."""
HEADER = struct.Struct("<8s32sQI12x")
"""Magic, sha256 of the key, length and crc32 of the value, which follows at byte 64."""
BLOCK = 4096
"""What a file's size is rounded up to, as file systems do."""
PAUSE = 60.0
TEMPORARY = "new-"
ABANDONED = 3600.0
"""Age at which a temporary file is taken for that of a process that died, seconds."""
LOCKS = "locks"


class DirectoryStore:
    """A :class:`~maskloop.cache.store.Store` of one file a value.

    A file appears under its name whole (written aside, then renamed) and is read with its checksum verified: one that
    is cut short, damaged, of another version or of another key is a miss, and removed. Nothing is flushed to the disk
    on purpose: what a power failure leaves unwritten fails the checksum.

    The bound: a process that writes looks through the directory after every 1/64 of ``max_bytes`` it has written and
    removes the least recently used files down to 7/8, so that eight processes writing at once stay below it.
    """

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._trouble = Trouble(f"The cache directory {directory}", PAUSE)
        self._guard = threading.Lock()
        self._unswept = max_bytes  # written since the last sweep; the first write sweeps

    def get(self, key: str) -> Value | None:
        name = digest(key)
        path = self._path(name)
        try:
            with path.open("rb", buffering=0) as file:
                value = read_entry(file.fileno(), name)
                if value is not None:
                    with suppress(OSError):  # a read-only file system
                        mark_used(file.fileno())
                    return value
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            self._trouble.note(error)
        return None

    def put(self, key: str, value: Value) -> None:
        size = on_disk(HEADER.size + len(value))
        if size > self._max_bytes or self._trouble.lasts:
            return
        try:
            self._write(digest(key), value)
            with self._guard:
                self._unswept += size
                if self._unswept > self._max_bytes // 64:
                    self._sweep()
        except OSError as error:
            self._trouble.note(error)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        file = self._lock_file(digest(key)[:1].hex())
        try:
            if file is not None:
                wait_for_lock(file)
            yield
        finally:
            if file is not None:
                os.close(file)

    def _path(self, name: bytes) -> Path:
        return self._directory / name.hex()

    def _write(self, name: bytes, value: Value) -> None:
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = self._directory / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
        try:
            with aside.open("xb") as file:
                file.write(HEADER.pack(MAGIC, name, len(value), zlib.crc32(value)))
                file.write(value)
                file.flush()
                mark_used(file.fileno())
            aside.replace(self._path(name))
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise

    def _sweep(self) -> None:
        files: list[tuple[int, int, str]] = []
        now = time.time()
        with os.scandir(self._directory) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another process sweeps too
                    if not entry.is_file(follow_symlinks=False):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if not entry.name.startswith(TEMPORARY):
                        files.append((status.st_mtime_ns, on_disk(status.st_size), entry.path))
                    elif now - status.st_mtime > ABANDONED:
                        Path(entry.path).unlink()
        total = sum(size for _, size, _ in files)
        if total > self._max_bytes * 7 // 8:
            for _, size, path in sorted(files):
                if total <= self._max_bytes * 7 // 8:
                    break
                Path(path).unlink(missing_ok=True)
                total -= size
        self._unswept = 0

    def _lock_file(self, stripe: str) -> int | None:
        folder = self._directory / LOCKS
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(folder / stripe, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._trouble.note(error)
            return None


def read_entry(file: int, name: bytes) -> Value | None:
    """The value in the open ``file``, or None if it isn't a whole and undamaged one of the key ``name``."""
    header = os.read(file, HEADER.size)
    if len(header) < HEADER.size:
        return None
    magic, key, length, checksum = HEADER.unpack(header)
    if (magic, key) != (MAGIC, name) or os.fstat(file).st_size != HEADER.size + length:
        return None
    value = os.read(file, length)
    return value if len(value) == length and zlib.crc32(value) == checksum else None


def mark_used(file: int) -> None:
    """Sets the time by which the least recently used is found: finer than the one that the kernel would set."""
    now = time.time_ns()
    os.utime(file, ns=(now, now))


def wait_for_lock(file: int) -> None:
    """Locks ``file`` against other processes and other threads, or gives up after ``PATIENCE`` seconds."""
    deadline = time.monotonic() + PATIENCE
    pause = 0.001
    while time.monotonic() < deadline:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def on_disk(size: int) -> int:
    return -(-size // BLOCK) * BLOCK
