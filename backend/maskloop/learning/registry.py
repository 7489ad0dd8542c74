"""The versions of the model, and which of them is in service.

    models/service.json         what was put into service, for which project or for all, the last one last
    models/challenge.json       the version that answers some tasks' clicks beside it, if any: see ``Challenge``
    models/VERSION/model.json   what it is: see ``ModelVersion``
    models/VERSION/weights.pt   a state dict of ``sam.network.MobileSam``
    models/VERSION/gate.json    what the gate said of it, if it was asked: see ``Judgement``
    models/VERSION/chances.json, chances-PROJECT.json   what its scores are worth, anywhere and in a project

A version is there when its model.json is, which is written last; it never changes. Who wants to know the version in
service reads one small file, so workers may ask before each request.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from maskloop.errors import BadRequest, WeightsError
from maskloop.files import locked, replacing
from maskloop.learning.calibration import Chances

if TYPE_CHECKING:
    from maskloop.sam.network import MobileSam

log = logging.getLogger(__name__)

T = TypeVar("T")
OFFICIAL = "official"
"""The version that is always there: MobileSAM's own weights."""
EPOCH = datetime.min.replace(tzinfo=UTC)
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class UnknownVersion(BadRequest):
    """There is no such version."""

    code: ClassVar[str] = "unknown_version"


class TrainingData(BaseModel):
    """What a version learned from. ``fingerprint``: sha256 over all photos and masks. ``read_until``: of reviews, when
    the last of them came."""

    model_config = ConfigDict(frozen=True)

    source: str
    fingerprint: str
    photos: int
    objects: int
    read_until: datetime | None = None


class ModelVersion(BaseModel):
    """One version of the model. The official one has a name only."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=NAME)
    parent: str | None = None
    made_at: datetime | None = None
    sha256: str = ""
    data: TrainingData | None = None
    settings: dict[str, Any] = {}


class Judgement(BaseModel):
    """What the gate said of a version.

    metrics: of the version on what was held out for ``gate``. judged_on: equal where the held-out photos that could be
    read, their masks, and the version to beat are the same; empty in files that were written before it was kept.
    """

    model_config = ConfigDict(frozen=True)

    passed: bool
    reason: str
    against: str
    metrics: dict[str, float] = {}
    judged_on: str = ""


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


class Challenge(BaseModel):
    """A version that, where another is in service, answers the clicks of a share of the tasks, always the same ones."""

    model_config = ConfigDict(frozen=True)

    name: str
    against: str
    share: float = Field(gt=0, lt=1)
    started_at: datetime = EPOCH

    def takes(self, task_id: int) -> bool:
        digest = hashlib.sha256(f"{self.name} {task_id}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64


class Registry:
    """Safe for any number of processes on one directory."""

    def __init__(self, directory: Path, official: Callable[[], Path]) -> None:
        """official: gives the verified file of the official weights when it is wanted, or raises WeightsError."""
        self._directory, self._lock = directory, directory / ".lock"
        self._official = official

    def versions(self) -> list[ModelVersion]:
        """All versions, the oldest first. One whose record is damaged is left out, and logged."""
        found = []
        for path in self._directory.glob("*/model.json"):
            try:
                found.append(read(path, VERSION))
            except WeightsError as error:
                log.warning("%s", error)
        return [ModelVersion(name=OFFICIAL), *sorted(found, key=lambda one: (one.made_at or EPOCH, one.name))]

    def get(self, name: str) -> ModelVersion:
        """Raises UnknownVersion."""
        if name == OFFICIAL:
            return ModelVersion(name=OFFICIAL)
        if not self.has(name):
            known = ", ".join(one.name for one in self.versions())
            raise UnknownVersion(f"There is no model version {name!r}.", f"There are: {known}.")
        return read(self._directory / name / "model.json", VERSION)

    def weights(self, name: str) -> Path:
        """A version's file, checked to be the one that was registered. Raises UnknownVersion, WeightsError."""
        version = self.get(name)
        if name == OFFICIAL:
            return self._official()
        path = self._directory / name / "weights.pt"
        try:
            digest = sha256(path)
        except OSError as error:
            raise WeightsError(f"The weights of version {name} can't be read: {error}.") from error
        if digest != version.sha256:
            raise WeightsError(
                f"The weights of version {name} are not those that were registered: their sha256 is {digest}.",
                "Roll back to another version, or restore the file.",
            )
        return path

    def has(self, name: str) -> bool:
        return name == OFFICIAL or (valid(name) and (self._directory / name / "model.json").is_file())

    def checkpoint(self, name: str) -> Path:
        """Where the training of a version that isn't there yet may keep its state."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory / f".{name}.checkpoint"

    def drop_checkpoints(self, prefix: str, but: str) -> None:
        """Remove the state of trainings that won't go on: of versions whose names begin so, but for one."""
        for path in self._directory.glob(f".{prefix}*.checkpoint*"):
            if path != self.checkpoint(but):
                path.unlink(missing_ok=True)

    def check_free(self, name: str) -> None:
        """Raises BadRequest if a new version can't have this name."""
        if name == OFFICIAL or not valid(name):
            raise BadRequest(f"A version can't be called {name!r}.", "Letters, digits, dots, dashes; at most 64.")
        if self.has(name):
            raise BadRequest(f"There is a version {name} already.", "Versions never change: take a new name.")

    def add(self, version: ModelVersion, model: MobileSam) -> ModelVersion:
        """Register a version; what it lacks of time and hash is filled in. Raises BadRequest if the name is taken."""
        import torch  # only here: who asks for the version in service need not have it

        directory = self._directory / version.name
        with locked(self._lock):
            self.check_free(version.name)
            directory.mkdir(exist_ok=True)
            weights = directory / "weights.pt"
            with replacing(weights) as file:
                torch.save(model.state_dict(), file)
            complete = version.model_copy(update={"made_at": datetime.now(UTC), "sha256": sha256(weights)})
            write(directory / "model.json", complete.model_dump_json(indent=1))
        return complete

    def judgement(self, name: str) -> Judgement | None:
        """What the gate said last of a version. Raises UnknownVersion."""
        self.get(name)
        path = self._directory / name / "gate.json"
        return read(path, JUDGEMENT) if path.is_file() else None

    def record_judgement(self, name: str, judgement: Judgement) -> None:
        """Raises UnknownVersion."""
        self.get(name)
        with locked(self._lock):
            write(self._directory / name / "gate.json", judgement.model_dump_json(indent=1))

    def chances(self, name: str, project: int | None = None) -> Chances:
        """What a version's scores are worth in a project: told by its reviews or, before there are enough, by what the
        version was judged by. Scores as they are if neither is known."""
        anywhere = self.own_chances(name)
        return anywhere if project is None else self.own_chances(name, project).or_else(anywhere)

    def record_chances(self, name: str, chances: Chances, project: int | None = None) -> None:
        """Raises UnknownVersion."""
        self.get(name)
        with locked(self._lock):
            path = self._chances_path(name, project)
            path.parent.mkdir(exist_ok=True)
            write(path, chances.model_dump_json())

    def own_chances(self, name: str, project: int | None = None) -> Chances:
        """What was recorded for just that project, or for none."""
        try:
            return read(self._chances_path(name, project), CHANCES)
        except FileNotFoundError:
            return Chances()

    def _chances_path(self, name: str, project: int | None) -> Path:
        return self._directory / name / ("chances.json" if project is None else f"chances-{project}.json")

    def in_service(self, project: int | None = None) -> str:
        """The version that answers now in a project; None: where a project has none of its own."""
        return in_service(self._promotions(), project)

    def answering(self) -> dict[int | None, str]:
        """All versions that answer now: for None, everywhere but in the projects that are named. The last promoted
        first."""
        return answering(self._promotions())

    def challenge(self) -> Challenge | None:
        """The version that answers some tasks' clicks beside the one in service."""
        try:
            return read(self._directory / "challenge.json", CHALLENGE)
        except FileNotFoundError:
            return None

    def start_challenge(self, challenge: Challenge) -> None:
        """In place of one that goes on; it ends when the version that it is against is in service nowhere any more.

        Raises UnknownVersion, BadRequest if the version is in service there, or WeightsError if its file is damaged.
        """
        self.weights(challenge.name)
        with locked(self._lock):
            if challenge.name == challenge.against:
                raise BadRequest(f"Version {challenge.name} is in service: it can't challenge itself.")
            write(self._directory / "challenge.json", challenge.model_dump_json())

    def end_challenge(self) -> Challenge | None:
        """Gives the one that went on, if any."""
        with locked(self._lock):
            ended = self.challenge()
            (self._directory / "challenge.json").unlink(missing_ok=True)
        return ended

    def promote(self, name: str, project: int | None = None, *, instead_of: str | None = None) -> bool:
        """Put a version into service in a project, or in all of them, also where there is another; or only if it is
        ``instead_of`` that answers there. Gives whether that is so.

        Raises UnknownVersion, or WeightsError if its file is damaged.
        """
        self.weights(name)
        with locked(self._lock):
            promotions, promotion = self._promotions(), Promotion(name=name, project=project)
            if instead_of not in (None, in_service(promotions, project)):
                return False
            if promotion != promotions[last(promotions, project)]:
                self._put_into_service([*promotions, promotion])
        return True

    def rollback(self, project: int | None = None) -> Promotion:
        """Take back the last promotion, or the last of a project's own; gives it. Raises BadRequest if there is none,
        or if what answers in the project was put into service everywhere."""
        with locked(self._lock):
            promotions = self._promotions()
            index = last(promotions, project)
            taken, left = promotions[index], promotions[:index] + promotions[index + 1 :]
            if project is not None and taken.project is None:
                raise BadRequest(
                    f"Project {project} has no version of its own: {taken.name} answers everywhere.",
                    "Roll back without a project, or promote another version for it.",
                )
            if not left:
                raise BadRequest(f"No version was in service before {taken.name}.")
            for name in set(answering(left).values()) - set(answering(promotions).values()):
                self.weights(name)
            self._put_into_service(left)
        return taken

    def _promotions(self) -> list[Promotion]:
        """The last one last; the first is for all projects."""
        try:
            return read(self._directory / "service.json", PROMOTIONS)
        except FileNotFoundError:
            return [Promotion(name=OFFICIAL)]

    def _put_into_service(self, promotions: list[Promotion]) -> None:
        write(self._directory / "service.json", PROMOTIONS.dump_json(promotions).decode())
        challenge = self.challenge()
        if challenge is not None and challenge.against not in self.answering().values():
            (self._directory / "challenge.json").unlink()


VERSION, JUDGEMENT, CHANCES = TypeAdapter(ModelVersion), TypeAdapter(Judgement), TypeAdapter(Chances)
CHALLENGE, PROMOTIONS = TypeAdapter(Challenge), TypeAdapter(list[Promotion])


def last(promotions: Sequence[Promotion], project: int | None) -> int:
    """The number of the last promotion that reaches a project; None: of the last one."""
    return max(number for number, one in enumerate(promotions) if project is None or one.reaches(project))


def in_service(promotions: Sequence[Promotion], project: int | None) -> str:
    return next(one.name for one in reversed(promotions) if one.reaches(project))


def answering(promotions: Sequence[Promotion]) -> dict[int | None, str]:
    """By project, None for those that aren't named, the version that answers; the last promoted first."""
    found: dict[int | None, str] = {}
    for one in reversed(promotions):
        found.setdefault(one.project, one.name)
        if one.project is None:
            break
    return found


def valid(name: str) -> bool:
    return re.fullmatch(NAME, name) is not None


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path, of: TypeAdapter[T]) -> T:
    """Raises WeightsError if the file is damaged or can't be read, FileNotFoundError if there is none."""
    try:
        return of.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise WeightsError(
            f"{path} can't be read: {error.strerror}.", "Check the data directory (MASKLOOP_DATA_DIR)."
        ) from error
    except ValidationError as error:
        raise WeightsError(f"{path} is damaged: {error}", "Restore it from a backup, or remove it.") from error


def write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())
