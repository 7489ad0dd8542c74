"""`maskloop sync`: what happened before maskloop listened, or while it kept its feedback elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from maskloop.cli.options import load_to_write
from maskloop.errors import BadRequest
from maskloop.labelstudio.connect import api_of
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore, open_store
from maskloop.settings import Settings

Project = Annotated[int | None, typer.Option(help="Number of the Label Studio project.")]
File = Annotated[
    Path | None,
    typer.Option("--from", help="Database to take over, which is a file: feedback.db of a data directory."),
]


def command(project: Project = None, file: File = None) -> None:
    """Fill the feedback store with a project's tasks, annotations and predictions, from Label Studio, or with what
    another database has. Repeating it does no harm."""
    settings = load_to_write()
    if project is not None and file is None:
        read(project, settings, open_store(settings))
    elif project is None and file is not None:
        take_over(file, open_store(settings))
    else:
        raise BadRequest("Name either a project or a file to take feedback from: --project 7, or --from feedback.db.")


def read(project: int, settings: Settings, store: FeedbackStore) -> None:
    if not (api := api_of(settings)):
        raise BadRequest(
            "Label Studio's address or a token isn't set.",
            "Set MASKLOOP_LABEL_STUDIO_URL and MASKLOOP_LABEL_STUDIO_API_KEY.",
        )
    try:
        about, started, count = api.project(project), datetime.now(UTC), 0
        for task in track(api.tasks(project), "Tasks", console=Console(stderr=True)):
            store.record_task(about, task, started)
            count += 1
    finally:
        api.close()
    try:
        store.process_pending()
    except FeedbackUnavailable as error:
        raise FeedbackUnavailable(f"{count} tasks are read, and wait. {error.message}", error.hint) from error
    typer.echo(f"{count} tasks of project {project} are in the feedback store.")


def take_over(file: Path, store: FeedbackStore) -> None:
    """What follows from the events is drawn by a server, as for those that it receives."""
    if not file.is_file():
        raise BadRequest(f"There is no file {file}.")
    typer.echo(f"{store.take_over(file)} events of {file} are taken over. The file can be put away.")
