"""Bring the weights here: from the first source that has them, whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from maskloop.errors import WeightsError
from maskloop.files import replacing, storing
from maskloop.weights.manifest import Manifest, Source, official
from maskloop.weights.sources import SourceFailed, chunks
from maskloop.weights.verify import verified_path


class Watcher(Protocol):
    """Sees how a fetch goes."""

    def trying(self, source: Source) -> None: ...

    def received(self, size: int) -> None:
        """So many more bytes, of ``Manifest.size``."""

    def failed(self, source: Source, reason: str) -> None: ...


class Unwatched:
    """Looks away."""

    def trying(self, source: Source) -> None: ...

    def received(self, size: int) -> None: ...

    def failed(self, source: Source, reason: str) -> None: ...


def fetch(weights_dir: Path, watcher: Watcher | None = None, manifest: Manifest | None = None) -> Path:
    """The verified weights file in ``weights_dir``, fetched if it isn't there or isn't right.

    The file is written under another name and gets its own once size and sha256 are right and it is on the disk, so
    that a crash or a second fetch at the same time leaves either a right file or none. Raises WeightsError if no
    source has it, with every source's reason and where to put the file by hand, and StorageError.
    """
    manifest, watcher = manifest or official(), watcher or Unwatched()
    with suppress(WeightsError):
        return verified_path(weights_dir, manifest)
    reasons = []
    for source in manifest.sources:
        watcher.trying(source)
        try:
            return store(chunks(source), weights_dir, manifest, watcher)
        except SourceFailed as failure:
            watcher.failed(source, str(failure))
            reasons.append(f"{source}: {failure}")
    raise WeightsError(
        f"{manifest.name} can't be fetched. " + " ".join(f"{reason.rstrip('.')}." for reason in reasons),
        f"Put {manifest.file} ({manifest.size:,} bytes, sha256 {manifest.sha256}) at {weights_dir / manifest.file}.",
    )


def store(content: Iterator[bytes], weights_dir: Path, manifest: Manifest, watcher: Watcher) -> Path:
    """Write the content to its place; raises SourceFailed if it is not what the manifest names, and
    StorageError."""
    path = weights_dir / manifest.file
    with storing(weights_dir):
        weights_dir.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        digest, size = hashlib.sha256(), 0
        for chunk in content:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
            watcher.received(len(chunk))
            if size > manifest.size:
                break
        if size != manifest.size or digest.hexdigest() != manifest.sha256:
            raise SourceFailed(f"{size:,} bytes came that are not the file")
    return path
