"""SOURCE, as it is typed, to photos: a photo, a folder, a glob, a list of them, here or wherever fsspec reaches.

A reference with ``://`` in it is a URL for fsspec (``s3://``, ``gs://``, ``https://``, ...); anything else is a path of
this machine, with any bytes in its name. What can't be listed is yielded as :class:`Skipped`, with the reason.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec  # type: ignore[import-untyped]

from maskloop.annotate.values import AnnotateError, Skipped, Source
from maskloop.errors import ImageUnavailable, ImageUnreadable
from maskloop.images.decode import SUFFIXES

UNDECODED = frozenset(
    {".arw", ".cr2", ".cr3", ".dng", ".heic", ".heif", ".hif", ".jxl", ".nef", ".orf", ".pef", ".raf", ".rw2", ".srw"}
)
"""Suffixes of photos that no part of this can decode."""
LIST_SUFFIXES = frozenset({".json", ".lst", ".txt"})
MAGIC = frozenset("*?[")

Found = Iterator[Source | Skipped]


def is_url(reference: str) -> bool:
    return "://" in reference


def find(source: str, without: Sequence[str] = ()) -> Found:
    """The photos of ``source``, in order of name; a list's in the list's order.

    ``source``: a folder (searched to the bottom), a photo, a glob (``**`` takes folders), a list (``.txt``: one
    reference a line; ``.json``: an array of them; ``-``: lines from standard input, taken as they come). References
    in a list are relative to its folder. ``without``: folders, as ``Output.address`` tells them, in which a folder or
    glob finds nothing. Raises :class:`AnnotateError` if there is no such source, or no photo in it.
    """
    if source == "-":
        found = _listed(_lines(sys.stdin), "", str(Path.cwd()))
    else:
        found = _find_remote(source, without) if is_url(source) else _find_local(source, without)
    nothing = True
    for each in found:
        nothing = False
        yield each
    if nothing:
        less = f", and not in what earlier runs made: {', '.join(without)}" if without else ""
        raise AnnotateError(f"There is no photo in {source}.", f"Looked for {', '.join(sorted(SUFFIXES))}{less}.")


def of_references(references: Iterable[str | os.PathLike[str]]) -> Found:
    """Photos named one by one, relative to the working folder."""
    return _listed((os.fspath(each) for each in references), "", str(Path.cwd()))


def distinct(found: Iterable[Source | Skipped]) -> Found:
    """``found`` with each photo once, under a name that no other has."""
    references: set[str] = set()
    names: set[str] = set()
    for each in found:
        if isinstance(each, Skipped):
            yield each
        elif each.reference not in references:
            references.add(each.reference)
            name = _unused(each.name, names)
            names.add(name)
            yield Source(each.reference, name)


def under_one_root(found: Sequence[Source | Skipped]) -> tuple[list[Source | Skipped], str]:
    """The photos of several sources with names relative to the one folder that holds all of this machine's, and that
    folder; empty if there are none."""
    here = {each.reference for each in found if isinstance(each, Source) and not is_url(each.reference)}
    paths = {reference: Path(os.path.normpath(reference)) for reference in here}
    root = os.path.commonpath([path.parent for path in paths.values()]) if paths else ""
    inside = {reference: path.relative_to(root).as_posix() for reference, path in paths.items()}

    def named(each: Source | Skipped) -> Source | Skipped:
        return Source(each.reference, inside[each.reference]) if each.reference in inside else each

    return [named(each) for each in found], root


def in_place(found: Iterable[Source | Skipped], folder: Path) -> Found:
    """Those below ``folder``, a real path, under their names there: they stay where they are, and only label files are
    written. Raises AnnotateError where two would share one of those."""
    names: dict[str, str] = {}
    for each in found:
        if isinstance(each, Source):
            place = Path(each.reference)
            real = place.parent.resolve() / place.name
            if not is_url(each.reference) and real.is_relative_to(folder):
                each = replace(each, name=real.relative_to(folder).as_posix())
            other = names.setdefault(str(PurePosixPath(each.name).with_suffix("")).lower(), each.name)
            if other != each.name:
                raise AnnotateError(f"{other} and {each.name} would share one file of labels.", "Rename one of them.")
        yield each


def stamped(photo: Source) -> Source:
    """The photo with the size and the time of change of its file, where it is one of this machine."""
    if is_url(photo.reference):
        return photo
    try:
        found = Path(photo.reference).stat()
    except OSError:
        return photo
    return replace(photo, stamp=f"{found.st_size}-{found.st_mtime_ns}")


def read(reference: str, limit: int | None = None) -> bytes:
    """The bytes of one photo. Raises :class:`ImageUnavailable`, or :class:`ImageUnreadable` over ``limit`` bytes."""
    most = -1 if limit is None else limit + 1
    try:
        if is_url(reference):
            fs, path = open_fs(reference)
            with fs.open(path, "rb") as file:
                content: bytes = file.read(most)
        else:
            with Path(reference).open("rb") as file:
                content = file.read(most)
    except FileNotFoundError as error:
        raise ImageUnavailable("There is no such file.") from error
    except Exception as error:  # fsspec's file systems raise whatever their clients raise
        raise ImageUnavailable(f"It can't be read: {say(error)}.") from error
    if limit is not None and len(content) > limit:
        raise ImageUnreadable(f"The file has more than {limit:,} bytes.", "MASKLOOP_MAX_IMAGE_BYTES sets the limit.")
    return content


def _find_local(source: str, without: Sequence[str]) -> Found:
    path = Path(source).absolute()
    if path.is_dir():
        return _walk(path, without)
    if path.is_file():
        if path.suffix.lower() in LIST_SUFFIXES:
            return _listed(_entries(path.suffix, path.read_bytes(), source), "", str(path.parent))
        return iter([Source(str(path), path.name)])
    if not MAGIC & set(source):
        raise AnnotateError(f"There is no {source}.")
    return _globbed(str(path), without)


def _walk(root: Path, without: Sequence[str]) -> Found:
    unlisted: list[OSError] = []
    for folder, files in _folders(root, unlisted):
        paths = (folder / name for name in sorted(files))
        yield from _photos(_below(root, paths), without)
    yield from _told(unlisted)


def _globbed(pattern: str, without: Sequence[str]) -> Found:
    """Photos by their first name: links may give more. ``glob`` would go around in circles of them with ``**``."""
    parts = Path(pattern).parts
    fixed = next(index for index, part in enumerate(parts) if MAGIC & set(part))
    root = Path(*parts[:fixed])
    between: list[list[str]] = [[]]
    for part in parts[fixed:]:
        if part != "**":
            between[-1].append(part)
        elif between[-1] or len(between) == 1:  # ** after ** says no more
            between.append([])
    between[-1] = between[-1] or ["*"]
    unlisted: list[OSError] = []
    found = _matches(root, between[0])
    for deeper in between[1:]:
        tops = [path for path in _once(found) if path.is_dir()]
        folders = (folder for top in tops for folder, _ in _folders(top, unlisted, hidden=False))
        found = [path for folder in folders for path in _matches(folder, deeper)]
    yield from _photos(_below(root, (path for path in _once(found) if path.is_file())), without)
    yield from _told(unlisted)


def _folders(root: Path, unlisted: list[OSError], *, hidden: bool = True) -> Iterator[tuple[Path, list[str]]]:
    """``root`` and the folders below with the files in them, each folder once however many links lead to it."""
    seen = {os.path.realpath(root)}
    for folder, subfolders, files in os.walk(root, onerror=unlisted.append, followlinks=True):
        for name in sorted(subfolders):
            subfolders.remove(name)
            place = os.path.realpath(Path(folder, name))
            if place not in seen and (hidden or not name.startswith(".")):
                seen.add(place)
                subfolders.append(name)
        yield Path(folder), files


def _matches(folder: Path, parts: Sequence[str]) -> list[Path]:
    """parts: of a pattern without ``**``."""
    if not parts:
        return [folder]
    return [folder / name for name in glob.glob(str(Path(*parts)), root_dir=folder)]  # noqa: PTH207, hides what starts with a dot


def _once(paths: Iterable[Path]) -> list[Path]:
    first: dict[Path, Path] = {}
    for path in sorted(paths, key=str):
        first.setdefault(path.parent.resolve() / path.name, path)
    return list(first.values())


def _below(root: Path, paths: Iterable[Path]) -> list[Source]:
    return [Source(str(path), path.relative_to(root).as_posix()) for path in paths]


def _told(unlisted: Iterable[OSError]) -> Found:
    told = {error.filename: say(error) for error in unlisted}
    return (Skipped(folder, f"The folder can't be listed: {reason}.") for folder, reason in told.items())


def _find_remote(source: str, without: Sequence[str]) -> Found:
    fs, path = open_fs(source)
    suffix = PurePosixPath(urlsplit(source).path).suffix.lower()
    magic = min(map(path.find, MAGIC & set(path)), default=-1)
    try:
        if suffix in LIST_SUFFIXES:
            return _listed(_entries(suffix, fs.cat_file(path), source), source.rpartition("/")[0] + "/", "")
        if suffix in SUFFIXES and (magic < 0 or fs.isfile(path)):
            return iter([Source(source, _url_name(source))])
        if magic < 0 or fs.isdir(path):
            root, paths = path.rstrip("/"), fs.find(path)
        else:
            root, paths = path[:magic].rpartition("/")[0], fs.glob(path)
    except Exception as error:  # fsspec's file systems raise whatever their clients raise
        raise AnnotateError(f"{source} can't be listed: {say(error)}.") from error
    names = sorted(map(str, paths))
    return _photos([Source(fs.unstrip_protocol(each), each.removeprefix(root)) for each in names], without)


def _photos(files: Sequence[Source], without: Sequence[str]) -> Found:
    """Those of ``files`` that are photos, and not below ``without``. One that can't be decoded is skipped with a word,
    unless one of the same name can: cameras write both."""
    decoded = {each.name.rpartition(".")[0] for each in files if _suffix(each) in SUFFIXES}
    for each in files:
        if _is_below(each.reference, without):
            continue
        if _suffix(each) in SUFFIXES:
            yield each
        elif _suffix(each) in UNDECODED and each.name.rpartition(".")[0] not in decoded:
            yield Skipped(each.reference, f"{_suffix(each)} can't be decoded: convert it to JPEG.")


def _suffix(file: Source) -> str:
    return PurePosixPath(file.name).suffix.lower()


def _is_below(reference: str, folders: Sequence[str]) -> bool:
    if not folders:
        return False
    place = reference if is_url(reference) else str(Path(reference).parent.resolve())
    return any(f"{place}/".startswith(f"{folder}/") for folder in folders)


def _entries(suffix: str, content: bytes, source: str) -> Iterator[str]:
    """The references in a list: names may hold bytes that are no UTF-8, as in the file system."""
    if suffix.lower() != ".json":
        return _lines(map(os.fsdecode, content.split(b"\n")))
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise AnnotateError(f"{source} is no JSON: {error}.") from error
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise AnnotateError(f"{source} must be a JSON array of paths or URLs.")
    return iter(entries)


def _lines(lines: Iterable[str]) -> Iterator[str]:
    """Without what editors leave at the ends: blanks, and the mark of UTF-8 before the first."""
    return (line.removeprefix("\ufeff").rstrip(" \t\r\n") for line in lines)


def _listed(entries: Iterable[str], base_url: str, folder: str) -> Found:
    for entry in entries:
        if is_url(entry):
            yield Source(entry, _url_name(entry))
        elif base_url and entry:
            yield Source(base_url + entry.lstrip("/"), entry)
        elif entry:
            path = os.path.normpath(Path(folder, entry))
            relative = os.path.relpath(path, folder)
            name = path if relative.startswith("..") else relative
            yield Source(path, Path(name).as_posix())


def _url_name(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.netloc}/{parts.path}"


def open_fs(url: str) -> tuple[Any, str]:
    """fsspec's file system for ``url``, and the path in it. Raises :class:`AnnotateError`."""
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise AnnotateError(
            f"{url.partition('://')[0]}:// needs a package that is not installed.", str(error)
        ) from error
    except ValueError as error:
        raise AnnotateError(f"{url} can't be opened: {error}.") from error
    return fs, path


def _unused(name: str, taken: Container[str]) -> str:
    """``name``, with a number where another photo has it: addresses that differ in their query alone."""
    path, number = PurePosixPath(name), 1
    while name in taken:
        number += 1
        name = str(path.with_stem(f"{path.stem}-{number}"))
    return name


def say(error: Exception) -> str:
    """What went wrong, in the words of whoever raised it."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
