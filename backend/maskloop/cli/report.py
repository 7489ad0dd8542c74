"""`maskloop report`: one HTML page on what a project's reviews say of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskloop.cli.options import check_output, load_to_write, write_output
from maskloop.images import ImageLoader, ImagePolicy
from maskloop.learning.report import gather
from maskloop.learning.report_page import render
from maskloop.learning.store import open_store
from maskloop.learning.versions import registry_of

Project = Annotated[int, typer.Option(help="Number of the Label Studio project.")]
Output = Annotated[Path, typer.Option(help="File to write.")]


def command(project: Project, output: Output = Path("report.html")) -> None:
    """Write a self-contained page: quality by version, time and clicks spent, what scores are worth, worst cases."""
    check_output(output)
    settings = load_to_write()
    store = open_store(settings)
    store.process_pending()
    loader = ImageLoader(ImagePolicy.from_settings(settings))
    try:
        page = render(gather(store, registry_of(settings), project), loader.load)
    finally:
        loader.close()
    write_output(output, page)
    typer.echo(f"{output} is written.")
