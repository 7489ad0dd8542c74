"""Versions in service, as a test wants them."""

from dataclasses import dataclass, field

from maskloop.learning.calibration import UNKNOWN, Chances


@dataclass
class Serving:
    """``everywhere``, but in ``projects`` that have one of their own; ``challenged`` tasks' clicks get a challenger."""

    everywhere: str = "model-1"
    projects: dict[int, str] = field(default_factory=dict)
    challenged: dict[int, str] = field(default_factory=dict)
    worth: Chances = UNKNOWN

    def in_service(self, project: int | None) -> str:
        return self.projects.get(project or 0, self.everywhere)

    def for_click(self, project: int | None, task: int) -> str:
        return self.challenged.get(task) or self.in_service(project)

    def chances(self, version: str, project: int | None) -> Chances | None:
        return self.worth if version == self.in_service(project) else None

    def answering(self) -> dict[int | None, str]:
        return {**self.projects, None: self.everywhere}
