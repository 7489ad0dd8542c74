"""`maskloop models`: versions of the model, and which of them is in service."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from functools import cache, partial
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from maskloop.cli.options import load, load_to_write
from maskloop.errors import BadRequest, QueueUnavailable
from maskloop.labelstudio.connect import connect_showing
from maskloop.learning.challenge import compare, side, verdict
from maskloop.learning.registry import OFFICIAL, Registry
from maskloop.learning.service import Challenge
from maskloop.learning.store import open_store
from maskloop.learning.versions import in_words, name_of, registry_of, version_of
from maskloop.settings import Settings

app = typer.Typer(
    help="Versions of the model: list, show, promote, rollback, challenge, compare, remove.",
    no_args_is_help=True,
    add_completion=False,
)
Version = Annotated[str, typer.Argument(help="Name of the version.")]
Versions = Annotated[list[str], typer.Argument(metavar="VERSION...", help="Names of versions.")]
Challenger = Annotated[str | None, typer.Argument(metavar="VERSION", help="Name of the version.")]
Share = Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the tasks, always the same ones.")]
End = Annotated[bool, typer.Option("--end", help="End the challenge.")]
Force = Annotated[bool, typer.Option("--force", help="Although the gate refused it, or wasn't asked.")]


def _project(meaning: str) -> Any:
    return typer.Option(metavar="NUMBER", help=meaning, show_default=False)


PromotedIn = Annotated[int | None, _project("In this project of Label Studio alone; without it, everywhere.")]
ChallengedIn = Annotated[
    int | None, _project("Against this project's version; without it, the one that answers everywhere else.")
]
TakenBackIn = Annotated[int | None, _project("This project's own last one; without it, the last one wherever it was.")]


@app.command("list")
def list_command() -> None:
    """All versions, the oldest first, and where they are in service."""
    registry = registry_of(load())
    answering, table = registry.answering(), Table(box=None)
    for column in ("in service", "version", "from", "made", "objects", "click", "box", "NoC@85", "gate", "MB"):
        table.add_column(column)
    for version in registry.versions():
        said = registry.judgement(version.name)
        metrics = said.metrics if said else {}
        table.add_row(
            ", ".join(_place(project) for project, name in answering.items() if name == version.name),
            version.name,
            version.parent or "",
            f"{version.made_at:%Y-%m-%d %H:%M}" if version.made_at else "",
            str(version.data.objects) if version.data else "",
            *(f"{metrics[name]:.3f}" if name in metrics else "" for name in ("click", "box", "noc85")),
            ("passed" if said.passed else "refused") if said else "",
            _megabytes(registry, version.name),
        )
    Console().print(table)


def _megabytes(registry: Registry, name: str) -> str:
    return "" if name == OFFICIAL else f"{size / 1e6:.0f}" if (size := registry.size(name)) else "removed"


@app.command("show")
def show_command(version: Version) -> None:
    """Everything that is known of a version, as JSON; its file is checked."""
    registry = registry_of(load())
    said = registry.judgement(version)
    registry.weights(version)
    known = registry.get(version).model_dump(mode="json")
    known["judgement"] = None if said is None else said.model_dump(mode="json")
    typer.echo(json.dumps(known, indent=2, ensure_ascii=False))


@app.command("promote")
def promote_command(version: Version, project: PromotedIn = None, force: Force = False) -> None:
    """Put a version into service, in a project or everywhere; workers take it up without a restart.

    Everywhere: also in projects that had one of their own.
    """
    settings = load_to_write()
    registry = registry_of(settings)
    said = registry.judgement(version)
    if not force and not (said and said.passed):
        reason = said.reason if said else "The gate wasn't asked."
        raise BadRequest(f"Version {version} hasn't passed the gate. {reason}", "--force promotes it all the same.")
    before = in_words(registry.answering()) if project is None else registry.in_service(project)
    registry.promote(version, project)
    details = {"before": before, "project": project, "forced": force}
    open_store(settings).record_action(getpass.getuser(), "promote", version, details)
    typer.echo(f"{version} is in service {_place(project)}; before it was {before}.")
    _have_it_shown(settings)


@app.command("remove")
def remove_command(versions: Versions) -> None:
    """Delete versions' weights, some 55 MB each; what they learned from and how they were judged stays.

    Not of one that answers somebody. A rollback goes past them.
    """
    settings = load_to_write()
    registry, store = registry_of(settings), open_store(settings)
    for version in versions:
        registry.remove(version)
        store.record_action(getpass.getuser(), "remove", version, {})
        typer.echo(f"{version} is removed.")


@app.command("challenge")
def challenge_command(
    version: Challenger = None, share: Share = 0.2, project: ChallengedIn = None, end: End = False
) -> None:
    """Let a version answer the clicks of some tasks beside the one in service; `compare` tells what people make of it.

    It does so wherever that one answers, and ends when another takes its place.
    """
    settings = load_to_write()
    registry = registry_of(settings)
    if end == (version is not None):
        raise BadRequest("Name a version, or --end the challenge that goes on.")
    if version is None:
        ended = registry.end_challenge()
        if ended is not None:
            open_store(settings).record_action(getpass.getuser(), "end challenge", ended.name, {"share": ended.share})
        typer.echo("No challenge goes on; versions in service answer all clicks.")
        return
    against = registry.in_service(project)
    registry.start_challenge(Challenge(name=version, against=against, share=share, started_at=datetime.now(UTC)))
    open_store(settings).record_action(getpass.getuser(), "challenge", version, {"against": against, "share": share})
    typer.echo(f"{version} answers the clicks of {share:.0%} of the tasks, {against} those of the others.")


@app.command("compare")
def compare_command() -> None:
    """What people kept of the challenger's masks, and of those of the version in service, and after how many clicks."""
    settings = load_to_write()
    registry, store = registry_of(settings), open_store(settings)
    challenge = registry.challenge()
    if challenge is None:
        raise BadRequest("No challenge goes on.", "Start one: `maskloop models challenge VERSION`.")
    in_service = cache(registry.in_service)

    def answers(challenger: bool, project: int | None, task: int) -> bool:
        return in_service(project) == challenge.against and challenge.takes(task) == challenger

    sides = challenger, served = [
        side(store, version_of(name), challenge.started_at, partial(answers, new))
        for name, new in ((challenge.name, True), (challenge.against, False))
    ]
    table = Table(box=None)
    for column in ("version", "tasks", "masks", "accepted as they were", "kept (mean IoU)", "clicks until kept"):
        table.add_column(column)
    for one in sides:
        means = [f"{values.mean():.3f}" if len(values) else "" for values in (one.kept, one.prompts)]
        accepted = f"{one.accepted:.0%}" if one.masks else ""
        table.add_row(name_of(one.version), str(len(one.kept)), str(one.masks), accepted, *means)
    Console().print(table)
    found = compare(challenger, served)
    for name, of in (("kept", found.kept), ("clicks", found.prompts)):
        if of is not None:
            typer.echo(
                f"Difference in {name} {of.mean:+.3f}, with 95 % confidence between {of.low:+.3f} and {of.high:+.3f}, "
                "however often you look."
            )
    typer.echo(verdict(found, sides))


@app.command("rollback")
def rollback_command(project: TakenBackIn = None) -> None:
    """Take back the last promotion: the version that was in service before it is again."""
    settings = load_to_write()
    registry = registry_of(settings)
    taken = registry.rollback(project)
    now = registry.in_service(taken.project)
    details = {"before": taken.name, "project": taken.project}
    open_store(settings).record_action(getpass.getuser(), "rollback", now, details)
    typer.echo(f"{now} is in service again {_place(taken.project)}; {taken.name} is kept.")
    _have_it_shown(settings)


def _place(project: int | None) -> str:
    return "everywhere" if project is None else f"in project {project}"


def _have_it_shown(settings: Settings) -> None:
    """In Label Studio, at once; housekeeping goes on with what can't be shown yet."""
    try:
        showing = connect_showing(settings)
        for project, found in (showing.follow_all() if showing else {}).items():
            typer.echo(f"Label Studio, project {project}: {found}.")
    except QueueUnavailable as error:
        typer.echo(f"Label Studio's projects follow when `maskloop serve` runs: {error}", err=True)
