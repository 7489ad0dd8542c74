"""`maskloop bench`: how fast this machine answers, beside the official code."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from maskloop.bench.machine import Machine, measure_machine
from maskloop.bench.rows import Row, as_table
from maskloop.bench.runner import FULL, QUICK, Bench
from maskloop.cli.evaluate import MakeEngine
from maskloop.cli.options import check_output, load, write_output
from maskloop.errors import BadRequest
from maskloop.official.process import OfficialProcess
from maskloop.weights import verified_path

PHOTOS = ("coffee.png", "astronaut.png", "chelsea.png", "rocket.jpg")
"""Carried by scikit-image."""

ReferencePython = Annotated[
    Path | None, typer.Option(help="Interpreter in which `mobile_sam` imports: measures the official code beside ours.")
]
Images = Annotated[Path | None, typer.Option(help="Folder of photos; by default four that scikit-image carries.")]
Json = Annotated[str | None, typer.Option("--json", help="File to write the figures to, - for standard output.")]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer repetitions: done within three minutes.")]
EngineName = Annotated[str | None, typer.Option("--engine", help="What runs the network; by default the setting.")]


def command(make_engine: MakeEngine) -> Callable[..., None]:
    """The command, for an application that knows how engines are made."""

    def run(
        reference_python: ReferencePython = None,
        images: Images = None,
        json_to: Json = None,
        quick: Quick = False,
        engine: EngineName = None,
    ) -> None:
        """Measure encoding, clicks, the queue and the codecs, side by side with the official code in one run."""
        photos = photos_in(images)
        if json_to and json_to != "-":
            check_output(Path(json_to))
        console = Console(stderr=True)
        columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
        rows: list[Row] = []
        with ExitStack() as stack:
            progress = stack.enter_context(Progress(*columns, console=console))
            workspace = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            task = progress.add_task("this machine's limits", total=None)
            network = make_engine(None, engine)
            machine = measure_machine("cuda" if "cuda" in network.name else "cpu")
            reference = (
                stack.enter_context(OfficialProcess(reference_python, verified_path(load().weights_dir)))
                if reference_python
                else None
            )
            bench = Bench(photos, network, machine, QUICK if quick else FULL, reference)
            for row in bench.rows(workspace):
                rows.append(row)
                progress.update(task, description=f"{row.name}: {row.ours_ms:.1f} ms")
        tell(rows, machine, json_to)

    return run


def photos_in(folder: Path | None) -> list[Path]:
    if folder is not None:
        photos = sorted(path for path in folder.glob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})[:16]
        if not photos:
            raise BadRequest(f"{folder} holds no JPEG or PNG.")
        return photos
    skimage = find_spec("skimage")
    if skimage is None or skimage.origin is None:
        raise BadRequest("scikit-image, which carries the photos, isn't installed.", "Name a folder with --images.")
    return [Path(skimage.origin).parent / "data" / name for name in PHOTOS]


def tell(rows: list[Row], machine: Machine, json_to: str | None) -> None:
    document = json.dumps({"rows": [row.as_json() for row in rows], "machine": asdict(machine)}, indent=2)
    if json_to == "-":
        typer.echo(document)
        return
    console = Console()
    console.print(as_table(rows))
    console.print(
        f"{machine.name}, {machine.cores} cores: {machine.operations / 1e9:.0f} GFLOP/s ({machine.precision}), "
        f"{machine.bandwidth / 1e9:.0f} GB/s"
    )
    if json_to:
        write_output(Path(json_to), document + "\n")
