"""Files of the local-files storage on this machine."""

from __future__ import annotations

import os
import stat
import time

from maskloop.errors import ImageUnavailable, ImageUnreadable
from maskloop.images.sources import DiskFile, file_version

SETTLED = 2.0
"""A file changed less than this long ago may change again without its time of change telling, seconds."""


def read_file(file: DiskFile, max_bytes: int) -> tuple[bytes, str | None]:
    """The bytes and the version that they are of, or None where the file is too young for a version to say much.

    Raises ImageUnavailable if the file can't be opened, ImageUnreadable if it is no plain file or larger than
    ``max_bytes``.
    """
    try:
        stream = open(file.path, "rb", opener=_opener)  # noqa: SIM115
    except OSError as error:
        raise ImageUnavailable(f"{file} in the local-files folder can't be read: {error.strerror}.") from error
    with stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ImageUnreadable(f"{file} in the local-files folder is no file.")
        if status.st_size > max_bytes:
            raise too_large(str(file), max_bytes)
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise too_large(str(file), max_bytes)
    settled = time.time() - status.st_mtime > SETTLED
    return data, file_version(status.st_mtime_ns, status.st_size, status.st_ino) if settled else None


def _opener(path: str, flags: int) -> int:
    # The path was resolved: a link in its last place would be new. A pipe must not make us wait.
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def too_large(name: str, max_bytes: int) -> ImageUnreadable:
    return ImageUnreadable(
        f"{name} is larger than {max_bytes / (1 << 20):g} MiB.", "The limit is MASKLOOP_MAX_IMAGE_BYTES."
    )
