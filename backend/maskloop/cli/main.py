"""The `maskloop` command. A sub-command's module is imported when it is called, so that help comes at once."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Annotated, NamedTuple

import typer

from maskloop import __version__
from maskloop.engines.runtime import share_cores
from maskloop.errors import MaskloopError

app = typer.Typer(
    name="maskloop",
    help="SAM masks in Label Studio, with the human in the loop.",
    no_args_is_help=True,
    add_completion=False,
)


def tell_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=tell_version, is_eager=True, help="Tell the version.")]


@app.callback()
def maskloop(version: Version = False) -> None: ...


class Command(NamedTuple):
    """attribute: of the module, an application or a function. made_with: what of ``wiring`` the function is given to
    make the command. hidden: for other commands alone."""

    summary: str
    module: str
    attribute: str
    made_with: str = ""
    hidden: bool = False


COMMANDS = {
    "serve": Command(
        "Answer Label Studio: HTTP server, workers and, unless one is named, a Redis.", "serve", "command"
    ),
    "worker": Command("Do the jobs of one queue, for a server here or elsewhere.", "worker", "command"),
    "housekeeping": Command("What goes on beside the server.", "housekeeping", "command", hidden=True),
    "weights": Command("Fetch and verify the official weights.", "weights", "app"),
    "demo": Command("A Label Studio of its own with masks, to look at or to check.", "demo", "demo"),
    "annotate": Command("Photos in; COCO, YOLO or Label Studio files out.", "annotate", "command", "make_annotator"),
    "evaluate": Command("Measure a model against ground truth in COCO's format.", "evaluate", "command", "make_engine"),
    "bench": Command("How fast this machine answers, beside the official code.", "bench", "command", "make_engine"),
    "train": Command("A new version of the model from masks in a COCO file.", "train", "command", "open_segmenters"),
    "classes": Command("Learn classes from a COCO file, to name masks by.", "classes", "command"),
    "models": Command(
        "Versions of the model: list, show, promote, rollback, challenge, compare, remove.", "models", "app"
    ),
    "sync": Command("What happened before maskloop listened, or used this database.", "sync", "command"),
    "report": Command("One page on what a project's reviews say of the model.", "report", "command"),
}


def load(command: Command) -> typer.Typer:
    """Raises MaskloopError on Windows, which lacks what most of them import."""
    if os.name == "nt":
        raise MaskloopError("maskloop doesn't run on Windows itself.", "Install it in Windows' Linux, WSL.")
    part = getattr(import_module(f"maskloop.cli.{command.module}"), command.attribute)
    if isinstance(part, typer.Typer):
        return part
    if command.made_with:
        part = part(getattr(import_module("maskloop.cli.wiring"), command.made_with))
    alone = typer.Typer(add_completion=False)
    alone.command()(part)
    return alone


def mount(name: str, command: Command) -> None:
    """What follows the name goes to the sub-command as it is."""
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

    @app.command(name, help=command.summary, hidden=command.hidden, context_settings=passed_on)
    def run(context: typer.Context) -> None:
        share_cores()
        try:
            load(command)(args=context.args, prog_name=f"maskloop {name}")
        except MaskloopError as error:
            typer.secho(f"Error: {error}", fg="red", err=True)
            raise typer.Exit(1) from error


for _name, _command in COMMANDS.items():
    mount(_name, _command)

if __name__ == "__main__":
    app()
