"""Which version of the model answers whom: the last that was promoted there, and a challenger on some tasks."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from maskloop.errors import BadRequest


class Promotion(BaseModel):
    """That a version was put into service. project: where; None: everywhere."""

    model_config = ConfigDict(frozen=True)

    name: str
    project: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name_alone(cls, value: Any) -> Any:
        """As service.json had it when every promotion was for all projects."""
        return {"name": value} if isinstance(value, str) else value

    def reaches(self, project: int | None) -> bool:
        """Whether a project is answered by this, as far as nothing came after it; None: those that aren't named."""
        return self.project is None or self.project == project


class Service(RootModel[tuple[Promotion, ...]]):
    """All promotions that weren't taken back, the last one last; the first is for all projects."""

    model_config = ConfigDict(frozen=True)

    def in_service(self, project: int | None) -> str:
        """The version that answers in a project; None: where a project has none of its own."""
        return next(one.name for one in reversed(self.root) if one.reaches(project))

    def answering(self) -> dict[int | None, str]:
        """By project, None for those that aren't named, the version that answers; the last promoted first."""
        found: dict[int | None, str] = {}
        for one in reversed(self.root):
            found.setdefault(one.project, one.name)
            if one.project is None:
                break
        return found

    def promoted(self, promotion: Promotion) -> Service:
        """The same, if that was the last promotion there already."""
        same = promotion == self.root[self._last(promotion.project)]
        return self if same else Service((*self.root, promotion))

    def rolled_back(self, project: int | None) -> tuple[Promotion, Service]:
        """The last promotion, or the last of a project's own, and what is left without it. Raises BadRequest if there
        is none, or if what answers in the project was put into service everywhere."""
        index = self._last(project)
        taken, left = self.root[index], self.root[:index] + self.root[index + 1 :]
        if project is not None and taken.project is None:
            raise BadRequest(
                f"Project {project} has no version of its own: {taken.name} answers everywhere.",
                "Roll back without a project, or promote another version for it.",
            )
        if not left:
            raise BadRequest(f"No version was in service before {taken.name}.")
        return taken, Service(left)

    def without(self, name: str) -> Service:
        """The same, but that nothing goes back to this version any more. It must not answer anywhere."""
        return Service(tuple(one for one in self.root if one.name != name))

    def _last(self, project: int | None) -> int:
        """The number of the last promotion that reaches a project; None: of the last one."""
        return max(number for number, one in enumerate(self.root) if project is None or one.reaches(project))


class Challenge(BaseModel):
    """A version that, where another is in service, answers the clicks of a share of the tasks, always the same ones."""

    model_config = ConfigDict(frozen=True)

    name: str
    against: str
    share: float = Field(gt=0, lt=1)
    started_at: datetime = datetime.min.replace(tzinfo=UTC)

    def takes(self, task_id: int) -> bool:
        digest = hashlib.sha256(f"{self.name} {task_id}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64
