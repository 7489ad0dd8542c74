"""--out: a folder, here or wherever fsspec reaches, in which a file appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from tenacity import Retrying, stop_after_attempt, wait_exponential

from maskloop.annotate.sources import is_url, open_fs, say
from maskloop.annotate.values import AnnotateError

PROBE = ".maskloop-probe"
UPLOAD_ATTEMPTS = 4


def open_output(place: str) -> Output:
    return RemoteOutput(place) if is_url(place) else LocalOutput(Path(place).absolute())


class Output(ABC):
    """Names are relative to the folder. Every method raises :class:`AnnotateError` where it can't be written."""

    place: str

    @abstractmethod
    def check(self) -> None:
        """Find out now, and not hours later, that the folder can't be written."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether a file or folder of that name is there."""

    @abstractmethod
    def address(self, name: str) -> str:
        """Where ``name`` is, as ``sources.find`` tells addresses: a path without links, or a URL."""

    @abstractmethod
    def write(self, name: str, content: Iterable[bytes]) -> None:
        """One file, whole or not at all; it replaces one of that name."""


class LocalOutput(Output):
    """A folder of this machine, made when it is not there."""

    def __init__(self, folder: Path) -> None:
        self.place = str(folder)
        self.folder = folder

    def check(self) -> None:
        with self._failures(PROBE):
            self._part(PROBE).touch()
            self._part(PROBE).unlink()

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.folder / name)

    def address(self, name: str) -> str:
        return os.path.realpath(self.folder / name)

    def write(self, name: str, content: Iterable[bytes]) -> None:
        with self._failures(name):
            part = self._part(name)
            try:
                with part.open("wb") as file:
                    file.writelines(content)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(self.folder / name)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def link(self, name: str, target: Path) -> None:
        """A symbolic link to ``target``; it replaces a file of that name."""
        with self._failures(name):
            part = self._part(name)
            part.unlink(missing_ok=True)
            part.symlink_to(target)
            part.replace(self.folder / name)

    def _part(self, name: str) -> Path:
        """Where ``name`` is written first: beside it, under a name that is never too long."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.with_name(f".{sha256(os.fsencode(path.name)).hexdigest()[:16]}.part")

    @contextmanager
    def _failures(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _failed(self.folder / name, error) from error


class RemoteOutput(Output):
    """A folder behind a URL. A file is made here first, then put under another name, then moved to its own."""

    def __init__(self, place: str) -> None:
        self.place = place
        self._fs, root = open_fs(place)
        self._root = root.rstrip("/")
        self._made: set[str] = set()

    def check(self) -> None:
        self.write(PROBE, [])
        with suppress(Exception):  # an empty file left behind is no reason to stop
            self._fs.rm_file(f"{self._root}/{PROBE}")

    def exists(self, name: str) -> bool:
        try:
            return bool(self._fs.exists(f"{self._root}/{name}"))
        except Exception as error:  # as in _put
            raise AnnotateError(f"{self.place} can't be looked into: {say(error)}.") from error

    def address(self, name: str) -> str:
        return str(self._fs.unstrip_protocol(f"{self._root}/{name}"))

    def write(self, name: str, content: Iterable[bytes]) -> None:
        with tempfile.NamedTemporaryFile() as file:
            try:
                file.writelines(content)
                file.flush()
            except OSError as error:
                raise _failed(file.name, error) from error
            self._put(name, file.name)

    def _put(self, name: str, local: str) -> None:
        path = f"{self._root}/{name}"
        try:
            for attempt in Retrying(stop=stop_after_attempt(UPLOAD_ATTEMPTS), wait=wait_exponential(0.2), reraise=True):
                with attempt:
                    self._make_folder(path.rpartition("/")[0])
                    self._fs.put_file(local, path + ".part")
                    self._fs.mv(path + ".part", path)
        except Exception as error:  # fsspec's file systems raise whatever their clients raise
            raise _failed(f"{self.place.rstrip('/')}/{name}", error) from error

    def _make_folder(self, folder: str) -> None:
        """Below a bucket or top folder that is there: a misspelt one is not made."""
        if folder in self._made:
            return
        top = "/".join(folder.split("/")[: 2 if folder.startswith("/") else 1])
        if not self._fs.isdir(top):
            raise FileNotFoundError(f"there is no {top}")
        self._fs.makedirs(folder, exist_ok=True)
        self._made.add(folder)


def _failed(path: object, error: Exception) -> AnnotateError:
    return AnnotateError(
        f"{path} can't be written: {say(error)}.",
        "What was annotated is kept: run the same command again when the cause is gone.",
    )
