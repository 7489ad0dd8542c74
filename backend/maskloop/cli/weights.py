"""`maskloop weights`: fetch and verify the official weights."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from maskloop.cli.options import load
from maskloop.weights import fetch, official, verified_path
from maskloop.weights.manifest import Source

app = typer.Typer(help="The official weights: fetch and verify.", no_args_is_help=True, add_completion=False)
WeightsDir = Annotated[
    Path | None, typer.Option(help="Where the weights are or go; by default the setting MASKLOOP_WEIGHTS_DIR.")
]


@app.command("fetch")
def fetch_command(weights_dir: WeightsDir = None) -> None:
    """Bring the weights here from the first source in reach, verified; nothing to do if they are."""
    with ProgressBar(Console(stderr=True)) as bar:
        path = fetch(weights_dir or load().weights_dir, bar)
    typer.echo(f"{path} is there and verified.")


@app.command("verify")
def verify_command(weights_dir: WeightsDir = None) -> None:
    """Check size and sha256 of the weights that are here."""
    typer.echo(f"{verified_path(weights_dir or load().weights_dir)} is the file that the manifest names.")


class ProgressBar:
    """A ``weights.Watcher`` that draws: a bar that waits, then fills, and a line for each source that failed."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        self.progress = Progress(*columns, console=console)

    def __enter__(self) -> ProgressBar:
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def trying(self, source: Source) -> None:
        self.task = self.progress.add_task(str(source), total=None)

    def received(self, size: int) -> None:
        self.progress.update(self.task, advance=size, total=official().size)

    def failed(self, source: Source, reason: str) -> None:
        self.progress.remove_task(self.task)
        self.progress.console.print(f"{source}: {reason}", markup=False)
