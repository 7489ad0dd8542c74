"""`maskloop evaluate`: a model against ground truth in COCO's format."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from maskloop.cli.options import check_output, write_output
from maskloop.cli.options import load as load_settings
from maskloop.engines.base import Engine
from maskloop.errors import BadRequest
from maskloop.evaluation.by_class import ByClass
from maskloop.evaluation.clicking import ManyClicks
from maskloop.evaluation.coco import load
from maskloop.evaluation.everything import Everything, find_with
from maskloop.evaluation.measure import REFERENCE, Measure, evaluate
from maskloop.evaluation.prompted import OneBox, OneClick, segment_with
from maskloop.evaluation.reference import Reference
from maskloop.sam.automatic import AutomaticSettings
from maskloop.weights import verified_path

MakeEngine = Callable[[str | None, str | None], Engine]
"""From a model version (None: the one in service) and an engine's name (None: the setting's)."""
PROMPTS = ("click", "box", "noc", "everything")

Images = Annotated[Path, typer.Option(help="Folder of the photos.")]
Annotations = Annotated[Path, typer.Option(help="COCO's instances JSON for them.")]
Prompts = Annotated[str, typer.Option(help=f"What to measure, with commas between: {', '.join(PROMPTS)}.")]
Json = Annotated[
    str | None,
    typer.Option("--json", help="File to write the figures to beside the table, - for standard output in its place."),
]
Limit = Annotated[int | None, typer.Option(min=1, help="Take the first so many photos.")]
Model = Annotated[str | None, typer.Option(help="Version to measure; by default the one in service.")]
EngineName = Annotated[
    str | None, typer.Option("--engine", help="What runs it; by default the setting MASKLOOP_ENGINE.")
]
PointsPerSide = Annotated[int, typer.Option(min=1, help="Grid of the automatic masks, ours and the official ones.")]
Classifier = Annotated[
    str,
    typer.Option(help="Learned classes that name the automatic masks: precision and recall of each class are told."),
]
ReferencePython = Annotated[
    Path | None,
    typer.Option(help="Interpreter in which `mobile_sam` imports: measures the official code too (but for noc)."),
]


def command(make_engine: MakeEngine) -> Callable[..., None]:
    """The command, for an application that knows how engines are made."""

    def run(
        images: Images,
        annotations: Annotations,
        prompts: Prompts = "click,box",
        json_to: Json = None,
        limit: Limit = None,
        model: Model = None,
        engine: EngineName = None,
        points_per_side: PointsPerSide = 32,
        classifier: Classifier = "",
        reference_python: ReferencePython = None,
    ) -> None:
        """Measure masks against ground truth: IoU of a click and a box, clicks needed, recall of automatic masks."""
        chosen = _parsed(prompts)
        if json_to is not None and json_to != "-":
            check_output(Path(json_to))
        found = load(images, annotations, limit=limit)
        console = Console(stderr=True)
        network = make_engine(model, engine)
        automatic = AutomaticSettings(points_per_side=points_per_side)
        named = _by_class(classifier) if classifier else None
        makers: dict[str, Callable[[], Measure]] = {
            "click": lambda: OneClick(segment_with(network)),
            "box": lambda: OneBox(segment_with(network)),
            "noc": lambda: ManyClicks(network),
            "everything": lambda: Everything(find_with(network, automatic), named),
        }
        measures = [makers[name]() for name in chosen]
        photos = track(found, "Photos", console=console)
        if reference_python is None:
            figures = evaluate(network, photos, measures)
        else:
            with Reference(reference_python, verified_path(load_settings().weights_dir)) as official:
                makers = {
                    "click": lambda: OneClick(official.segment),
                    "box": lambda: OneBox(official.segment),
                    "everything": lambda: Everything(partial(official.everything, points_per_side=points_per_side)),
                }
                references = [makers[name]() for name in chosen if name in makers]
                figures = evaluate(network, photos, measures, references)
        _tell(figures, json_to)

    return run


def _by_class(classifier: str) -> ByClass:
    from maskloop.learning.recognition import Recognition  # imports torch

    recognition = Recognition(load_settings())
    return ByClass(recognition.called(classifier), recognition.classifiers.get(classifier).names)


def _parsed(prompts: str) -> Sequence[str]:
    names = [name.strip() for name in prompts.split(",") if name.strip()]
    unknown = sorted(set(names) - set(PROMPTS))
    if unknown or not names:
        raise BadRequest(f"--prompts has {', '.join(unknown) or 'nothing'}.", f"It takes {', '.join(PROMPTS)}.")
    return names


def _tell(figures: dict[str, float], json_to: str | None) -> None:
    document = json.dumps(figures, indent=2)
    if json_to == "-":
        typer.echo(document)
        return
    Console().print(_table(figures))
    if json_to is not None:
        write_output(Path(json_to), document + "\n")


def _table(figures: dict[str, float]) -> Table:
    """A row for each figure, the official code's beside it where it was measured."""
    compared = any(name.startswith(REFERENCE) for name in figures)
    table = Table("", "maskloop", *["official"] * compared)
    for name, value in figures.items():
        if not name.startswith(REFERENCE):
            official = figures.get(REFERENCE + name)
            table.add_row(name, _shown(value), *[_shown(official)] * compared)
    return table


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, int) else f"{value:.3f}"
