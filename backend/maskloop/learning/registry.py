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
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from maskloop.errors import BadRequest, WeightsError
from maskloop.files import locked, replacing
from maskloop.learning.calibration import Chances
from maskloop.learning.records import NAME, read, valid, write
from maskloop.learning.service import Challenge, Promotion, Service

if TYPE_CHECKING:
    from maskloop.sam.network import MobileSam

log = logging.getLogger(__name__)

OFFICIAL = "official"
"""The version that is always there: MobileSAM's own weights."""
EPOCH = datetime.min.replace(tzinfo=UTC)


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
    read_until: of reviews, when the last came that there was to judge by. taken_back: somebody rolled it back since.
    """

    model_config = ConfigDict(frozen=True)

    passed: bool
    reason: str
    against: str
    metrics: dict[str, float] = {}
    judged_on: str = ""
    read_until: datetime | None = None
    taken_back: bool = False


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
        path = self._weights_path(name)
        try:
            digest = sha256(path)
        except FileNotFoundError as error:
            raise WeightsError(
                f"The weights of version {name} are gone: somebody removed them.", "Restore the file from a backup."
            ) from error
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

    def size(self, name: str) -> int:
        """Bytes of a version's file; 0 if it was removed, and of the official one, which isn't kept here."""
        path = self._weights_path(name)
        return path.stat().st_size if path.is_file() else 0

    def remove(self, name: str) -> None:
        """Delete a version's file. What it learned from and what the gate said of it stays, so that the same isn't
        trained again; a rollback goes past it.

        Raises UnknownVersion, and BadRequest if it answers somebody or is the official one.
        """
        self.get(name)
        with locked(self._lock):
            service, challenge = self._service(), self.challenge()
            if name == OFFICIAL:
                raise BadRequest("The official version is always there.")
            if name in service.answering().values():
                raise BadRequest(f"Version {name} is in service.", "Promote another in its place first.")
            if challenge and challenge.name == name:
                raise BadRequest(f"Version {name} is a challenger.", "`maskloop models challenge --end` ends that.")
            self._put_into_service(service.without(name))
            self._weights_path(name).unlink(missing_ok=True)

    def _weights_path(self, name: str) -> Path:
        return self._directory / name / "weights.pt"

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
            weights = self._weights_path(version.name)
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
            self._write_judgement(name, judgement)

    def _write_judgement(self, name: str, judgement: Judgement) -> None:
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
        return self._service().in_service(project)

    def answering(self) -> dict[int | None, str]:
        """All versions that answer now: for None, everywhere but in the projects that are named. The last promoted
        first."""
        return self._service().answering()

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
            service = self._service()
            if instead_of not in (None, service.in_service(project)):
                return False
            self._put_into_service(service.promoted(Promotion(name=name, project=project)))
        return True

    def rollback(self, project: int | None = None) -> Promotion:
        """Take back the last promotion, or the last of a project's own; gives it. Raises BadRequest if there is none,
        or if what answers in the project was put into service everywhere."""
        with locked(self._lock):
            service = self._service()
            taken, left = service.rolled_back(project)
            for name in set(left.answering().values()) - set(service.answering().values()):
                self.weights(name)
            self._put_into_service(left)
            if said := self.judgement(taken.name):
                self._write_judgement(taken.name, said.model_copy(update={"taken_back": True}))
        return taken

    def _service(self) -> Service:
        try:
            return read(self._directory / "service.json", SERVICE)
        except FileNotFoundError:
            return Service((Promotion(name=OFFICIAL),))

    def _put_into_service(self, service: Service) -> None:
        write(self._directory / "service.json", service.model_dump_json())
        challenge = self.challenge()
        if challenge is not None and challenge.against not in service.answering().values():
            (self._directory / "challenge.json").unlink()


VERSION, JUDGEMENT, CHANCES = TypeAdapter(ModelVersion), TypeAdapter(Judgement), TypeAdapter(Chances)
CHALLENGE, SERVICE = TypeAdapter(Challenge), TypeAdapter(Service)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
