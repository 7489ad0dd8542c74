"""`maskloop sync`: what happened in a project before maskloop listened, from Label Studio's API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from maskloop.cli.options import load_to_write
from maskloop.errors import BadRequest
from maskloop.labelstudio.connect import api_of
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import open_store

Project = Annotated[int, typer.Option(help="Number of the Label Studio project.")]


def command(project: Project) -> None:
    """Fill the feedback store with a project's tasks, annotations and predictions. Repeating it does no harm."""
    settings = load_to_write()
    if not (api := api_of(settings)):
        raise BadRequest(
            "Label Studio's address or a token isn't set.",
            "Set MASKLOOP_LABEL_STUDIO_URL and MASKLOOP_LABEL_STUDIO_API_KEY.",
        )
    store = open_store(settings)
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
