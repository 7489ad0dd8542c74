"""What Label Studio sends to an ML backend: strict in what is used, tolerant of everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Self

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from maskloop.errors import BadRequest
from maskloop.learning.events import Id

DEEPEST = 64
"""Levels of lists and objects within each other; what passes jobs on takes some hundred."""


def _none_is(default: Any) -> BeforeValidator:
    """Label Studio sends null for many things that aren't there."""
    return BeforeValidator(lambda value: default if value is None else value)


def _typed(value: object) -> object:
    """What Label Studio's form sends: a string of what was typed into it, and what its API was given as it is."""
    if isinstance(value, str):
        value = orjson.loads(value) if value.strip() else None
    return value or None


def _not_too_deep(value: Any) -> Any:
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
        if not level:
            return value
    raise ValueError("Nested too deeply")


def _within(value: object) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _id_of(uid: object) -> str | None:
    number = str(uid).partition(".")[0]
    return number if number.isdecimal() else None


Value = Annotated[Any, AfterValidator(_not_too_deep)]
Json = dict[str, Value]
ProjectOfUid = Annotated[Id | None, BeforeValidator(_id_of)]
"""The id of a project as Label Studio names it here: "<id>.<creation time>"."""


class Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    @classmethod
    def read(cls, body: object) -> Self:
        """The body of a request, parsed. Raises BadRequest with each field that isn't as it should be."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            raise BadRequest(f"The request can't be understood: {faults(error)}.") from error


def faults(error: ValidationError) -> str:
    """Where and what is wrong, without the values."""
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors()[:5])


class StoredPrediction(Wire):
    model_version: Annotated[str, _none_is("")] = ""


class Task(Wire):
    """``id`` is missing only where a task isn't stored in Label Studio. ``predictions``: what it has there already.

    data: jobs carry nothing of it but images, so that anything may stand there."""

    id: Id | None = None
    data: dict[str, Any]
    predictions: Annotated[tuple[StoredPrediction, ...], _none_is(())] = ()

    @property
    def stored_versions(self) -> frozenset[str]:
        return frozenset(prediction.model_version for prediction in self.predictions)


class ContextResult(Wire):
    """A key point or a rectangle in the editor, or the label that goes with the one of the same id.

    origin: "manual", "prediction" or "prediction-changed". is_positive: only smart key points have it. score: only what
    came from a model has it, accepted or not.
    """

    id: str = ""
    from_name: str
    to_name: str
    type: str
    value: Json
    origin: Annotated[str, _none_is("")] = ""
    is_positive: bool | None = None
    score: Value = None
    item_index: Annotated[int, _none_is(0)] = 0
    original_width: int | None = None
    original_height: int | None = None
    image_rotation: Annotated[float, _none_is(0)] = 0


class Context(Wire):
    """``result`` holds every prompt on the object so far, and whatever else is of their type, label and image."""

    result: Annotated[tuple[ContextResult, ...], _none_is(())] = ()


class Params(Wire):
    context: Annotated[Context | None, BeforeValidator(lambda value: value or None)] = None
    """None (or empty, as the official server has it) asks for predictions of whole tasks."""


class PredictRequest(Wire):
    """``POST /predict``."""

    tasks: Annotated[tuple[Task, ...], Field(min_length=1)]
    project_id: ProjectOfUid = Field(None, alias="project")
    label_config: Annotated[str, _none_is("")] = ""
    params: Annotated[Params, _none_is({})] = Params()


class SetupRequest(Wire):
    """``POST /setup``. ``extra_params`` is what the user wrote into the backend's settings in Label Studio."""

    project_id: ProjectOfUid = Field(None, alias="project")
    label_config: str = Field(alias="schema")
    extra_params: Annotated[Json | None, BeforeValidator(_typed)] = None


class EventProject(Wire):
    id: Id


class WebhookEvent(Wire):
    """``POST /webhook``: what happened, and where. What else it says is read where it is used."""

    action: str
    project: EventProject | None = None


class TasksToReviewRequest(Wire):
    """The query of ``GET /reviews/tasks``. threshold: the score from which a task needs no human."""

    project: Id
    limit: Annotated[int, Field(ge=1, le=10_000)] = 100
    threshold: float | None = None
