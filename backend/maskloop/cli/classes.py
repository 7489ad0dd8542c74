"""`maskloop classes`: learn classes from a COCO file, to name masks by."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from maskloop.cli.options import load_to_write
from maskloop.learning.classes import MOST
from maskloop.learning.dataset import from_coco
from maskloop.learning.examples import learn, newest
from maskloop.learning.recognition import Recognition

Images = Annotated[Path, typer.Option(help="Folder of the photos.")]
Annotations = Annotated[Path, typer.Option(help="COCO's instances JSON for them.")]
Name = Annotated[str, typer.Option(help="What they are called, for `maskloop annotate --classifier`.")]
Categories = Annotated[str, typer.Option(help="Learn these classes alone, with commas between.")]
Examples = Annotated[int, typer.Option(min=1, help="Examples of each class at most, the last in the file.")]


def command(
    images: Images, annotations: Annotations, name: Name, categories: Categories = "", examples: Examples = MOST
) -> None:
    """Learn classes from the masks of a COCO file; ten examples of each are a start."""
    names = Recognition(load_to_write())
    names.classifiers.path(name)
    wanted = [each.strip() for each in categories.split(",") if each.strip()]
    photos = newest(from_coco(images, annotations, wanted), examples)
    found = learn(track(photos, "Photos", console=Console(stderr=True)), names.describe)
    names.classifiers.put(name, found)
    told = f"right on {found.right:.0%} of {found.examples} examples, each told by those of other photos"
    typer.echo(f"{name}: {', '.join(found.names)}; {told}.")
