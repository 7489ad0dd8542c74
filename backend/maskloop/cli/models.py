"""`maskloop models`: versions of the model, and which of them is in service."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from maskloop.cli.versions import version_in_service, version_of, versions_made
from maskloop.dispatch.private_redis import private_url
from maskloop.errors import BadRequest, QueueUnavailable
from maskloop.labelstudio.connect import can_deliver, connect_showing
from maskloop.learning.challenge import difference, side, verdict
from maskloop.learning.registry import Challenge, Registry
from maskloop.learning.store import open_store
from maskloop.settings import Settings
from maskloop.weights import verified_path

app = typer.Typer(help="Versions of the model: list, show, promote, rollback, challenge.", no_args_is_help=True)
Version = Annotated[str, typer.Argument(help="Name of the version.")]
Challenger = Annotated[str | None, typer.Argument(metavar="VERSION", help="Name of the version.")]
Share = Annotated[float, typer.Option(min=0.01, max=0.99, help="Of the tasks, always the same ones.")]
End = Annotated[bool, typer.Option("--end", help="End the challenge.")]
Force = Annotated[bool, typer.Option("--force", help="Although the gate refused it, or wasn't asked.")]


def open_registry(settings: Settings) -> Registry:
    """The registry in the data directory. Raises WeightsError if the official weights are missing or damaged."""
    return Registry(settings.data_dir / "models", verified_path(settings.weights_dir))


@app.command("list")
def list_command() -> None:
    """All versions, the oldest first; the one in service is marked."""
    registry = open_registry(Settings())
    served, table = registry.in_service(), Table(box=None)
    for column in ("", "version", "from", "made", "objects", "click", "box", "NoC@85", "gate"):
        table.add_column(column)
    for version in registry.versions():
        said = registry.judgement(version.name)
        metrics = said.metrics if said else {}
        table.add_row(
            "*" if version.name == served else "",
            version.name,
            version.parent or "",
            f"{version.made_at:%Y-%m-%d %H:%M}" if version.made_at else "",
            str(version.data.objects) if version.data else "",
            *(f"{metrics[name]:.3f}" if name in metrics else "" for name in ("click", "box", "noc85")),
            ("passed" if said.passed else "refused") if said else "",
        )
    Console().print(table)


@app.command("show")
def show_command(version: Version) -> None:
    """Everything that is known of a version, as JSON; its file is checked."""
    registry = open_registry(Settings())
    said = registry.judgement(version)
    registry.weights(version)
    typer.echo(registry.get(version).model_dump_json(indent=2))
    if said is not None:
        typer.echo(said.model_dump_json(indent=2))


@app.command("promote")
def promote_command(version: Version, force: Force = False) -> None:
    """Put a version into service; workers take it up without a restart."""
    settings = Settings()
    registry = open_registry(settings)
    said = registry.judgement(version)
    if not force and not (said and said.passed):
        reason = said.reason if said else "The gate wasn't asked: train it with --hold-out."
        raise BadRequest(f"Version {version} hasn't passed the gate. {reason}", "--force promotes it all the same.")
    before = registry.in_service()
    registry.promote(version)
    open_store(settings).record_action(getpass.getuser(), "promote", version, {"before": before, "forced": force})
    typer.echo(f"{version} is in service; before it was {before}.")
    _have_it_shown(settings)


@app.command("challenge")
def challenge_command(version: Challenger = None, share: Share = 0.2, end: End = False) -> None:
    """Let a version answer the clicks of some tasks beside the one in service; `compare` tells what people make of it.

    A promotion or a rollback ends the challenge.
    """
    settings = Settings()
    registry = open_registry(settings)
    if end == (version is not None):
        raise BadRequest("Name a version, or --end the challenge that goes on.")
    if version is None:
        ended = registry.end_challenge()
        if ended is not None:
            open_store(settings).record_action(getpass.getuser(), "end challenge", ended.name, {"share": ended.share})
        typer.echo(f"No challenge goes on; {registry.in_service()} answers all clicks.")
        return
    registry.start_challenge(Challenge(name=version, share=share))
    open_store(settings).record_action(getpass.getuser(), "challenge", version, {"share": share})
    typer.echo(
        f"{version} answers the clicks of {share:.0%} of the tasks, {registry.in_service()} those of the others."
    )


@app.command("compare")
def compare_command() -> None:
    """What people kept of the challenger's masks, and of those of the version in service."""
    settings = Settings()
    registry, store = open_registry(settings), open_store(settings)
    challenge = registry.challenge()
    if challenge is None:
        raise BadRequest("No challenge goes on.", "Start one: `maskloop models challenge VERSION`.")
    sides = challenger, served = [side(store, version_of(name)) for name in (challenge.name, registry.in_service())]
    table = Table(box=None)
    for column in ("version", "tasks", "masks", "accepted as they were", "kept (mean IoU)"):
        table.add_column(column)
    for one in sides:
        kept = f"{one.kept.mean():.3f}" if len(one.kept) else ""
        table.add_row(one.version, str(len(one.kept)), str(one.masks), f"{one.accepted:.0%}" if one.masks else "", kept)
    Console().print(table)
    found = difference(challenger, served)
    if found is not None:
        typer.echo(
            f"Difference {found.mean:+.3f}, with 95 % confidence between {found.low:+.3f} and {found.high:+.3f}."
        )
    typer.echo(verdict(found, sides))


@app.command("rollback")
def rollback_command() -> None:
    """Put the version back that was in service before."""
    settings = Settings()
    registry = open_registry(settings)
    before = registry.in_service()
    now = registry.rollback()
    open_store(settings).record_action(getpass.getuser(), "rollback", now, {"before": before})
    typer.echo(f"{now} is in service again; {before} is kept.")
    _have_it_shown(settings)


def _have_it_shown(settings: Settings) -> None:
    """In Label Studio, at once; housekeeping goes on with what can't be shown yet."""
    settings = settings.model_copy(update={"redis_url": settings.redis_url or private_url(settings.data_dir)})
    if settings.redis_url is None or not can_deliver(settings):
        return
    version = version_in_service(settings)
    showing = connect_showing(settings, version, versions_made(settings))
    assert showing
    try:
        for project, found in showing.follow_all().items():
            typer.echo(f"Label Studio, project {project}: {found}.")
    except QueueUnavailable as error:
        typer.echo(f"Label Studio's projects follow when `maskloop serve` runs: {error}", err=True)
