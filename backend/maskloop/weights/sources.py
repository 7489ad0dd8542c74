"""The ways in which bytes come here. Nothing that arrives is trusted: whoever takes it checks it."""

from __future__ import annotations

import http.client
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from maskloop.weights.manifest import PackageSource, Source, UrlSource

CHUNK = 1 << 18
SILENCE = 5.0
"""Seconds without a connection or a byte after which a URL is given up."""
PIP_LIMIT = 600.0
"""Seconds that pip may take in all."""


class SourceFailed(Exception):
    """Why a source gave nothing; the next may."""


def chunks(source: Source) -> Iterator[bytes]:
    """The file's bytes as the source has them, in pieces. Raises SourceFailed."""
    return from_url(source) if isinstance(source, UrlSource) else from_package(source)


def from_url(source: UrlSource) -> Iterator[bytes]:
    try:
        with urllib.request.urlopen(source.url, timeout=SILENCE) as answer:  # noqa: S310 (the manifest takes https only)
            yield from pieces(answer)
    except (OSError, http.client.HTTPException) as error:
        raise SourceFailed(str(error).removeprefix("<urlopen error ").removesuffix(">")) from error


def from_package(source: PackageSource) -> Iterator[bytes]:
    """Through pip, so that its own settings name the index. It checks the archive's hash before it looks inside."""
    with tempfile.TemporaryDirectory() as folder:
        requirement = Path(folder, "requirement.txt")
        requirement.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input",
                   "--no-deps", "--no-binary", source.package, "--require-hashes", "--retries", "1", "--timeout", "15",
                   "--dest", folder, "--requirement", str(requirement)]  # fmt: skip
        try:
            pip = subprocess.run(command, capture_output=True, text=True, timeout=PIP_LIMIT, check=False)  # noqa: S603
        except subprocess.TimeoutExpired as error:
            raise SourceFailed(f"pip took more than {PIP_LIMIT:.0f} s") from error
        if pip.returncode:
            raise SourceFailed((pip.stderr.strip() or "pip failed and didn't say why").splitlines()[-1])
        (archive,) = Path(folder).glob("*.tar.gz")
        try:
            with tarfile.open(archive) as members:
                for member in members:
                    if member.name.partition("/")[2] == source.member and (content := members.extractfile(member)):
                        yield from pieces(content)
                        return
        except (OSError, tarfile.TarError) as error:
            raise SourceFailed(f"{archive.name} can't be read: {error}") from error
        raise SourceFailed(f"{archive.name} holds no {source.member}")


def pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
