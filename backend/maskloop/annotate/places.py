"""Where a run's files go, and its journal."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from maskloop.annotate.output import Output, open_output
from maskloop.annotate.sources import is_url
from maskloop.annotate.values import AnnotateError
from maskloop.annotate.yolo import IMAGES
from maskloop.files import replacing

IN_PLACE = " If it holds the photos, name it as SOURCE, with --yolo-photos none."


@dataclass(frozen=True)
class Place:
    """file: of a format that is one. previews: folder of the pictures. journal: on this machine, for a URL too."""

    output: Output
    file: str
    previews: str
    journal: Path

    def check(self, names: Iterable[str]) -> None:
        """Raises AnnotateError if the folder can't be written, or holds one of ``names`` that no earlier run made."""
        self.output.check()
        self._refuse_others(names, self.made())

    def made(self) -> Sequence[str]:
        """What earlier runs wrote into the folder, in whatever format."""
        try:
            return [name for name in os.fsdecode(self._made.read_bytes()).split("\0") if name]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise AnnotateError(f"{self._made} can't be read: {error.strerror}.") from error

    def claim(self, names: Iterable[str]) -> None:
        """Note, before the first of ``names`` is written, that a run made them: later ones may replace them.

        Raises StorageError if that can't be written, AnnotateError if somebody else made one of them in the meantime.
        """
        names, made = [*names], self.made()
        self._refuse_others(names, made)
        with replacing(self._made) as file:
            file.write(os.fsencode("\0".join(dict.fromkeys([*made, *names]))))

    @property
    def _made(self) -> Path:
        """Beside the journal: it outlives it."""
        return self.journal.with_name(f"{self.journal.name}.made")

    def _refuse_others(self, names: Iterable[str], made: Collection[str]) -> None:
        for name in names:
            if name not in made and self.output.exists(name):
                raise AnnotateError(
                    f"{name} is in {self.output.place} already, and not of an earlier run.",
                    f"Choose another --out, or move it away.{IN_PLACE if name == IMAGES else ''}",
                )


def place(out: str, file: str, data_dir: Path) -> Place:
    """``out`` is a folder, or a file if it ends like ``file``, which is what the format calls it in a folder."""
    suffix = PurePosixPath(file).suffix
    remote_journal = data_dir / "annotate" / f"{sha256(out.encode(errors='surrogateescape')).hexdigest()[:16]}.journal"
    if suffix and out.lower().endswith(suffix):
        folder, _, name = out.rpartition("/")
        output = open_output(folder or ".")
        journal = remote_journal if is_url(out) else Path(f"{out}.journal")
        return Place(output, name, f"{name.removesuffix(suffix)}-preview", journal)
    return Place(open_output(out), file, "preview", remote_journal if is_url(out) else Path(out, ".journal"))
