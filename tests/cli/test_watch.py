"""What a run of `maskloop annotate` shows."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from maskloop.annotate.journal import Journal
from maskloop.annotate.values import Annotated, Source
from maskloop.cli.watch import Watch
from maskloop.sam.values import ImageSize


def test_what_is_written_comes_whole_at_each_pass_and_the_bar_shows_it(tmp_path: Path) -> None:
    photos = [Annotated(Source(f"/{name}", name), ImageSize(4, 6), ()) for name in ("a", "b", "c")]
    shown = io.StringIO()
    with Journal(tmp_path / "journal", {}) as journal, Watch(Console(file=shown), 3) as watch:
        journal.add(photos)
        passes = watch.writing("Files", journal.select(photo.source for photo in photos))
        assert list(passes) == list(passes) == photos
    assert "Files" in shown.getvalue()
    assert "3/3" in shown.getvalue()
