"""Where a run's files go, and its journal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from maskloop.annotate.output import Output, open_output
from maskloop.annotate.sources import is_url
from maskloop.annotate.values import AnnotateError


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
        if not self.journal.exists():
            for name in filter(self.output.exists, names):
                raise AnnotateError(
                    f"{name} is in {self.output.place} already, and not of an earlier run.",
                    "Choose another --out, or move it away.",
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
