"""Classifiers on disk, beside the model's versions: they need the encoder alone, which all versions share.

models/classes/NAME.npz     see ``Classes.to_bytes``
models/classes/NAME.json    when they were learned last, or that was tried: see ``Attempt``
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from maskloop.errors import BadRequest
from maskloop.files import replacing
from maskloop.learning.classes import Classes
from maskloop.learning.records import read, valid, write
from maskloop.settings import Settings


def of_project(project: int) -> str:
    """What a project's own classifier is called."""
    return f"project-{project}"


def classifiers_of(settings: Settings) -> Classifiers:
    """Those that the settings name."""
    return Classifiers(settings.data_dir / "models")


class Attempt(BaseModel):
    """That classes were learned, or couldn't be. examples: how many there were of each, readable or not."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    examples: dict[str, int]


ATTEMPT = TypeAdapter(Attempt)


class Classifiers:
    """Safe for any number of processes on one directory. A name's classifier may be replaced; it is read anew then."""

    def __init__(self, models: Path) -> None:
        self._directory = models / "classes"
        self._read: dict[str, tuple[int, Classes]] = {}

    def names(self) -> list[str]:
        return sorted(path.stem for path in self._directory.glob("*.npz"))

    def find(self, name: str) -> Classes | None:
        """None if there is none of this name. Raises BadRequest if its file is damaged."""
        path = self.path(name)
        try:
            stamp = path.stat().st_mtime_ns
            known = self._read.get(name)
            if known is None or known[0] != stamp:
                self._read[name] = stamp, Classes.from_bytes(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise BadRequest(f"{path} can't be used: {error}.", "Learn the classes again.") from error
        return self._read[name][1]

    def get(self, name: str) -> Classes:
        """Raises BadRequest if there is none of this name."""
        found = self.find(name)
        if found is None:
            known = ", ".join(self.names()) or "none"
            raise BadRequest(f"There are no classes called {name!r}; there are: {known}.", "`maskloop classes` learns.")
        return found

    def put(self, name: str, classes: Classes) -> None:
        path = self.path(name)
        self._directory.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(classes.to_bytes())

    def last_attempt(self, name: str) -> Attempt | None:
        """None if there was none. Raises WeightsError if its file is damaged."""
        try:
            return read(self.path(name).with_suffix(".json"), ATTEMPT)
        except FileNotFoundError:
            return None

    def note(self, name: str, attempt: Attempt) -> None:
        path = self.path(name).with_suffix(".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, attempt.model_dump_json())

    def path(self, name: str) -> Path:
        """Where the classifier of a name is kept. Raises BadRequest if none can be called so."""
        if not valid(name):
            raise BadRequest(f"Classes can't be called {name!r}.", "Letters, digits, dots, dashes; at most 64.")
        return self._directory / f"{name}.npz"
