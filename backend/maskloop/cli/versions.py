"""What the model in service is called, for processes that hold no model."""

from __future__ import annotations

from collections.abc import Callable

from maskloop.labelstudio.connect import official_version
from maskloop.learning.registry import OFFICIAL, Registry
from maskloop.settings import Settings


def version_in_service(settings: Settings) -> Callable[[], str]:
    """Tells the version that new predictions carry."""
    registry = registry_of(settings)
    return lambda: version_of(registry.in_service())


def version_for_clicks(settings: Settings) -> Callable[[int], str]:
    """Tells the version that answers clicks on a task: a challenger's, if it takes that one."""
    registry = registry_of(settings)

    def of_task(task_id: int) -> str:
        challenge = registry.challenge()
        return version_of(challenge.name if challenge and challenge.takes(task_id) else registry.in_service())

    return of_task


def registry_of(settings: Settings) -> Registry:
    """To ask about versions; the official weights are not looked at."""
    return Registry(settings.data_dir / "models", settings.weights_dir)


def versions_made(settings: Settings) -> Callable[[], set[str]]:
    """Tells what predictions of any version carry."""
    registry = registry_of(settings)
    return lambda: {version_of(one.name) for one in registry.versions()}


def version_of(name: str) -> str:
    """What predictions carry, of a model's name in the registry."""
    return official_version() if name == OFFICIAL else name


def name_of(version: str) -> str:
    """The inverse."""
    return OFFICIAL if version == official_version() else version
