"""Which version of the model answers whom, by the names that predictions carry.

For processes that hold no model: a question costs the reading of one small file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from maskloop.learning.calibration import Chances
from maskloop.learning.registry import OFFICIAL, Registry
from maskloop.settings import Settings
from maskloop.weights import official, verified_path

Answering = Mapping[int | None, str]
"""The version in service by project, and for None everywhere else; the last promoted first."""


class Versions:
    """Of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def in_service(self, project: int | None) -> str:
        """What new predictions of a project carry; None: where a project has no version of its own."""
        return version_of(self._registry.in_service(project))

    def for_click(self, project: int | None, task: int) -> str:
        """What answers clicks on a task: a challenger, if it takes that one."""
        served, challenge = self._registry.in_service(project), self._registry.challenge()
        challenged = challenge is not None and challenge.against == served and challenge.takes(task)
        return version_of(challenge.name if challenge is not None and challenged else served)

    def answering(self) -> Answering:
        """All that are in service."""
        return {project: version_of(name) for project, name in self._registry.answering().items()}

    def chances(self, version: str, project: int | None) -> Chances | None:
        """What the scores of predictions that carry a version are worth in a project; None if it isn't one of these."""
        name = name_of(version)
        return self._registry.chances(name, project) if self._registry.has(name) else None

    def made(self) -> set[str]:
        """What predictions of any version carry."""
        return {version_of(one.name) for one in self._registry.versions()}


def in_words(answering: Answering) -> str:
    """For a person to read."""
    own = (f"{name} in project {project}" for project, name in answering.items() if project is not None)
    return ", ".join([answering[None], *own])


def registry_of(settings: Settings) -> Registry:
    """That of the data directory. The official weights are looked at when they are wanted."""
    return Registry(settings.data_dir / "models", partial(verified_path, settings.weights_dir))


def version_of(name: str) -> str:
    """What predictions carry, of a model's name in the registry."""
    return official().version if name == OFFICIAL else name


def name_of(version: str) -> str:
    """The inverse."""
    return OFFICIAL if version == official().version else version
