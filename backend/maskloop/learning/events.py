"""What an event says: Label Studio's webhooks and maskloop's own notes, as typed changes.

Webhooks: https://labelstud.io/guide/webhook_reference. maskloop's own: ``PREDICTIONS_MADE``, ``REVIEW_GIVEN``,
``ACTION_TAKEN``, ``TASK_SYNCED``: a task with its annotations and predictions as Label Studio's API has it, and
``JUDGE_ANEW``: the rules by which a task was judged have changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from maskloop.errors import BadRequest
from maskloop.learning.tables import Decision

Json = dict[str, Any]
SECRETS = frozenset({"token", "task_data_login", "task_data_password"})
"""Fields of a webhook's project that must not be kept."""
PREDICTIONS_MADE, REVIEW_GIVEN, TASK_SYNCED, ACTION_TAKEN, JUDGE_ANEW = (
    "PREDICTIONS_MADE",
    "REVIEW_GIVEN",
    "TASK_SYNCED",
    "ACTION_TAKEN",
    "JUDGE_ANEW",
)


def canonical(value: Any) -> bytes:
    """JSON in which equal content gives equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def identity(value: Any) -> str:
    """sha256 of the content, hexadecimal: the order of keys and the spacing don't matter."""
    return sha256(canonical(value))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def read(payload: bytes) -> Json:
    """The event's JSON without its secrets. Raises BadRequest if it is no JSON object."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The event isn't JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadRequest(f"An event is a JSON object, not {type(value).__name__}.")
    if isinstance(project := value.get("project"), dict):
        value["project"] = {key: item for key, item in project.items() if key not in SECRETS}
    return value


def in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def person(value: Any) -> str | None:
    """A user, as an id or as the object that some of Label Studio's answers hold."""
    user = value.get("id") if isinstance(value, dict) else value
    return None if user is None else str(user)


Id = Annotated[int, Field(ge=0, lt=1 << 63)]
"""A number that Label Studio gives, and a database takes."""
Moment = Annotated[datetime, AfterValidator(in_utc)]
Person = Annotated[str | None, BeforeValidator(person)]
Regions = Annotated[list[Json], BeforeValidator(lambda value: value or [])]


class Change(BaseModel):
    """One thing that an event says. Wire names are Label Studio's; what isn't needed is dropped."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class ProjectHeard(Change):
    id: Id
    title: str = ""
    label_config: str = ""
    controls: Annotated[dict[str, Json], BeforeValidator(lambda value: value or {})] = Field(
        default_factory=dict, alias="parsed_label_config"
    )


class TaskHeard(Change):
    id: Id
    project_id: Id = Field(alias="project")
    data: Json


class TaskGone(Change):
    id: Id


class AnnotationHeard(Change):
    id: Id
    task_id: Id = Field(alias="task")
    project_id: Id | None = Field(None, alias="project")
    result: Regions = Field(default_factory=list)
    skipped: bool = Field(False, alias="was_cancelled")
    updated_at: Moment | None = None
    reviewer_id: Person = Field(None, alias="completed_by")
    lead_time: float | None = None
    parent_prediction: Id | None = None
    converted: bool = False
    ground_truth: bool = False


class AnnotationGone(Change):
    id: Id


class OtherAnnotationsGone(Change):
    """Of the task only ``kept`` were left at ``at``, by maskloop's clock."""

    task_id: Id
    kept: list[Id]
    at: Moment


class PredictionMade(Change):
    """``prompts``: the interactive context that was answered, None for a whole task."""

    id: Id | None = None
    task_id: Id = Field(alias="task")
    project_id: Id | None = Field(None, alias="project")
    model_version: Annotated[str, BeforeValidator(lambda value: value or "")] = ""
    score: float | None = None
    prompts: list[Json] | None = None
    result: Regions = Field(default_factory=list)


class ReviewGiven(Change):
    task_id: Id
    reviewer_id: Annotated[str, BeforeValidator(str), Field(min_length=1, max_length=64)]
    decision: Decision
    comment: str = ""
    timestamp: Moment


class ActionTaken(Change):
    """Somebody did something that belongs into the audit."""

    actor: Annotated[str, Field(max_length=128)]
    action: Annotated[str, Field(max_length=64)]
    subject: Annotated[str, Field(max_length=256)]
    details: Json
    at: Moment


class JudgeAnew(Change):
    task_id: Id = Field(alias="task")


def changes(event: Json, *, own: bool) -> list[Change]:
    """What an event, maskloop's own or Label Studio's, says; nothing if it is of no interest here.

    Raises BadRequest, which names what is missing or malformed.
    """
    action = event.get("action")
    if not isinstance(action, str):
        raise BadRequest("The event has no action.")
    try:
        return list(_own(action, event) if own else _webhook(action, event))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:3])
        raise BadRequest(f"{action} is malformed: {error.title}: {faults}.") from error


def _webhook(action: str, event: Json) -> Iterator[Change]:
    if isinstance(project := event.get("project"), dict) and action != "PROJECT_DELETED":
        yield ProjectHeard.model_validate(project)
    match action:
        case "ANNOTATION_CREATED" | "ANNOTATION_UPDATED" | "ANNOTATIONS_CREATED":
            yield from (TaskHeard.model_validate(task) for task in _objects(event, "task"))
            bulk = {"converted": True} if action == "ANNOTATIONS_CREATED" else {}
            yield from (AnnotationHeard.model_validate(found | bulk) for found in _objects(event, "annotation"))
        case "ANNOTATIONS_DELETED":
            yield from (AnnotationGone.model_validate(found) for found in _objects(event, "annotations"))
        case "TASKS_CREATED":
            yield from (TaskHeard.model_validate(task) for task in _objects(event, "tasks"))
        case "TASKS_DELETED":
            yield from (TaskGone.model_validate(task) for task in _objects(event, "tasks"))


def _own(action: str, event: Json) -> Iterator[Change]:
    match action:
        case "PREDICTIONS_MADE":
            yield from (PredictionMade.model_validate(made) for made in _objects(event, "predictions"))
        case "REVIEW_GIVEN":
            yield ReviewGiven.model_validate(event.get("review"))
        case "ACTION_TAKEN":
            yield ActionTaken.model_validate(event.get("done"))
        case "JUDGE_ANEW":
            yield JudgeAnew.model_validate(event)
        case "TASK_SYNCED":
            (task,) = _objects(event, "task")
            here = {"task": task.get("id"), "project": task.get("project")}
            yield ProjectHeard.model_validate(event.get("project"))
            yield TaskHeard.model_validate(task)
            yield from (PredictionMade.model_validate(made | here) for made in task.get("predictions") or ())
            annotations = [
                AnnotationHeard.model_validate(found | here | {"converted": looks_converted(found)})
                for found in task.get("annotations") or ()
            ]
            yield from annotations
            kept = [annotation.id for annotation in annotations]
            yield OtherAnnotationsGone(task_id=task["id"], kept=kept, at=event["fetched_at"])


def looks_converted(annotation: Json) -> bool:
    """Whether Label Studio made it of a prediction in bulk, as far as its API tells: nobody spent time on it."""
    return annotation.get("parent_prediction") is not None and annotation.get("lead_time") is None


def _objects(event: Json, key: str) -> list[Json]:
    """The object or objects below ``key``: Label Studio sends one, or a list, under the same name."""
    value = event.get(key)
    objects: list[Any] = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) for item in objects):
        raise BadRequest(f"{event['action']} holds no {key}.")
    return objects
