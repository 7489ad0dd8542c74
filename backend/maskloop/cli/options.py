"""Flags made from the settings: the same names, meanings and defaults as their environment variables.

And what flags of several commands have in common: the file that the outcome goes to.
"""

from __future__ import annotations

import inspect
import os
import tempfile
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from maskloop.errors import BadRequest
from maskloop.settings import PREFIX, Settings, variable


def with_settings(command: Callable[..., None], *, without: Iterable[str] = ()) -> Callable[..., None]:
    """``command(settings, **own)`` as a command with its own parameters and a flag for each setting. It may write to
    the data directory.

    without: settings that mean nothing to this command.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    fields = {name: field for name, field in Settings.model_fields.items() if name not in set(without)}
    flags = [_flag(name, field) for name, field in fields.items()]

    def run(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in fields}
        command(load_to_write({name: value for name, value in chosen.items() if value is not None}), **given)

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + flags
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__doc__ = command.__doc__
    return run


def load(given: dict[str, Any] | None = None) -> Settings:
    """The settings from the environment, and ``given`` over them. Raises BadRequest that names the one at fault."""
    try:
        return Settings(**(given or {}))
    except ValidationError as error:
        faults = "; ".join(
            ": ".join([*(variable(str(name)) for name in fault["loc"][:1]), fault["msg"]]) for fault in error.errors()
        )
        raise BadRequest(f"The settings can't be used: {faults}.", "`maskloop serve --help` lists them.") from error


def load_to_write(given: dict[str, Any] | None = None) -> Settings:
    """The same for a command that writes to the data directory, which is made. Raises BadRequest also if it can't be
    written."""
    settings = load(given)
    directory = settings.data_dir
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        raise BadRequest(
            f"The data directory {directory} can't be written: {error.strerror}.",
            "Name another with MASKLOOP_DATA_DIR (--data-dir).",
        ) from error
    return settings


def check_output(path: Path) -> None:
    """Before the work whose outcome goes there. Raises BadRequest if a file can't be written so."""
    place = path if path.exists() else path.parent
    if path.is_dir() or (place != path and not place.is_dir()) or not os.access(place, os.W_OK):
        raise BadRequest(f"{path} can't be written.", "Name a file in a folder that is there.")


def write_output(path: Path, text: str) -> None:
    """Raises BadRequest if it can't be."""
    try:
        path.write_text(text)
    except OSError as error:
        raise BadRequest(f"{path} can't be written: {error.strerror}.") from error


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    default = "" if field.default_factory or field.default in (None, ()) else f" [default: {field.default}]"
    option = typer.Option(
        f"--{name.replace('_', '-')}",
        help=f"{field.description}{default}",
        show_default=False,
        rich_help_panel=f"Settings, also as {PREFIX}... variables",
    )
    kind = Annotated[_simple(field.annotation) | None, option]  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _simple(annotation: Any) -> Any:
    """The type that a command line can parse; pydantic does the rest."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not type(None))
    if get_origin(annotation) is Literal or annotation in (bool, int, float):
        return annotation
    return str
