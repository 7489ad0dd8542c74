"""From events to the state that they add up to, whatever their order, and from that state to verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from maskloop.learning import events
from maskloop.learning.events import (
    ActionTaken,
    AnnotationGone,
    AnnotationHeard,
    Change,
    JudgeAnew,
    OtherAnnotationsGone,
    PredictionMade,
    ProjectHeard,
    ReviewGiven,
    TaskGone,
    TaskHeard,
)
from maskloop.learning.regions import mean_score, shapes
from maskloop.learning.tables import (
    Annotation,
    AuditLine,
    Certainty,
    Event,
    Outcome,
    Prediction,
    Project,
    RegionVerdict,
    Review,
    Task,
)
from maskloop.learning.verdicts import Final, Seen, judge

AT_ONCE = 500
"""Tasks in one statement: databases bound how many values it may have."""


def apply(session: Session, event: Event, changes: Iterable[Change]) -> tuple[Outcome, dict[str, Any]]:
    """Bring the state up to date with an event. Gives what became of it, and details for the audit."""
    touched: set[int] = set()
    changes = list(changes)
    reviews = [change.model_dump(mode="json") for change in changes if isinstance(change, ReviewGiven)]
    new = [_fold(session, event, change, touched) for change in changes]
    session.flush()
    tasks = sorted(touched)
    verdicts = Counter[str]()
    for task_id in tasks:
        verdicts.update(judge_task(session, task_id))
    outcome = Outcome.APPLIED if any(new) else Outcome.OUTDATED if new else Outcome.IGNORED
    details: dict[str, Any] = {
        "projects": _projects_of(session, tasks),
        "tasks": tasks,
        "verdicts": dict(verdicts),
    }
    return outcome, details | {"reviews": reviews} if reviews else details


def _projects_of(session: Session, tasks: Sequence[int]) -> list[int]:
    known = Annotation.project_id.is_not(None)
    found: set[int | None] = set()
    for start in range(0, len(tasks), AT_ONCE):
        some = tasks[start : start + AT_ONCE]
        found |= set(session.scalars(select(Annotation.project_id).where(Annotation.task_id.in_(some), known)))
    return sorted(project for project in found if project is not None)


def _fold(session: Session, event: Event, change: Change, touched: set[int]) -> bool:
    """Let one change into the state unless something newer is known; whether it did. Adds the tasks to judge again."""
    match change:
        case ProjectHeard():
            return _project(session, event, change)
        case TaskHeard():
            return _task(session, event, change)
        case TaskGone():
            return _task_gone(session, event, change)
        case AnnotationHeard():
            return _annotation(session, event, change, touched)
        case AnnotationGone():
            return _annotation_gone(session, event, change.id, touched)
        case OtherAnnotationsGone():
            known = select(Annotation.id).where(
                Annotation.task_id == change.task_id,
                Annotation.id.not_in(change.kept),
                Annotation.received_at < change.at,
                ~Annotation.deleted,
                ~Annotation.skipped,
            )
            gone = [_annotation_gone(session, event, id_, touched) for id_ in session.scalars(known).all()]
            return any(gone)
        case PredictionMade():
            return _prediction(session, event, change, touched)
        case ReviewGiven():
            session.add(
                Review(
                    event_id=event.id,
                    task_id=change.task_id,
                    reviewer_id=change.reviewer_id,
                    decision=change.decision,
                    comment=change.comment,
                    at=change.timestamp,
                )
            )
            return True
        case ActionTaken():
            session.add(
                AuditLine(
                    at=change.at,
                    actor=change.actor,
                    action=change.action,
                    subject=change.subject,
                    details=change.details,
                )
            )
            return True
        case JudgeAnew():
            touched.add(change.task_id)
            return True
    raise TypeError(f"no such change: {change!r}")


def _project(session: Session, event: Event, change: ProjectHeard) -> bool:
    known = session.get(Project, change.id)
    if known is None:
        session.add(known := Project(id=change.id))
    elif known.heard_at > event.received_at:
        return False
    known.title, known.controls, known.label_config = change.title, change.controls, change.label_config
    known.heard_at = event.received_at
    return True


def _task(session: Session, event: Event, change: TaskHeard) -> bool:
    known = session.get(Task, change.id)
    if known is None:
        session.add(known := Task(id=change.id, deleted=False))
    elif known.heard_at > event.received_at:
        return False
    known.project_id, known.data, known.heard_at = change.project_id, change.data, event.received_at
    session.flush()
    return True


def _task_gone(session: Session, event: Event, change: TaskGone) -> bool:
    known = session.get(Task, change.id)
    if known is None:
        session.add(known := Task(id=change.id, data={}, heard_at=event.received_at, deleted=False))
    elif known.deleted:
        return False
    known.deleted = True
    session.flush()
    return True


def _annotation(session: Session, event: Event, change: AnnotationHeard, touched: set[int]) -> bool:
    identity = events.identity(change.result)
    updated_at = change.updated_at or event.received_at
    known = session.get(Annotation, change.id)
    if known is None:
        session.add(known := Annotation(id=change.id, deleted=False, heard_at=event.received_at))
    elif known.deleted or (known.updated_at, known.identity) >= (updated_at, identity):
        return False
    known.task_id, known.project_id, known.event_id = change.task_id, change.project_id, event.id
    known.identity, known.updated_at, known.received_at = identity, updated_at, event.received_at
    known.reviewer_id, known.lead_time = change.reviewer_id, change.lead_time
    known.parent_prediction, known.result = change.parent_prediction, change.result
    known.skipped, known.converted = change.skipped, change.converted
    known.ground_truth = change.ground_truth
    session.flush()
    touched.add(change.task_id)
    return True


def _annotation_gone(session: Session, event: Event, annotation_id: int, touched: set[int]) -> bool:
    known = session.get(Annotation, annotation_id)
    if known is None:
        known = Annotation(id=annotation_id, identity="", result=[], skipped=False, converted=False, deleted=False)
        known.updated_at = known.received_at = known.heard_at = event.received_at
        session.add(known)
    elif known.deleted:
        return False
    known.deleted, known.event_id = True, event.id
    session.flush()
    if known.task_id is not None:
        touched.add(known.task_id)
    return True


def _prediction(session: Session, event: Event, change: PredictionMade, touched: set[int]) -> bool:
    identity = events.identity([change.task_id, change.model_version, change.prompts, change.result])
    known = session.scalar(select(Prediction).where(Prediction.identity == identity))
    if known is None:
        known = Prediction(
            identity=identity,
            task_id=change.task_id,
            project_id=change.project_id,
            label_studio_id=change.id,
            model_version=change.model_version,
            score=change.score,
            prompts=change.prompts,
            result=change.result,
            made_at=event.received_at,
        )
        session.add(known)
        if change.prompts is None and (mean := mean_score(change.result)) is not None:
            session.flush()
            session.add(Certainty(prediction_id=known.id, predicted_iou=mean))
    elif change.id is not None and known.label_studio_id != change.id:
        known.label_studio_id = change.id
    else:
        return False
    if session.scalar(select(Annotation.id).where(Annotation.task_id == change.task_id).limit(1)) is not None:
        touched.add(change.task_id)
    return True


def judge_task(session: Session, task_id: int) -> Counter[str]:
    """Replace a task's verdicts by those that its annotations and predictions give now; how many of each."""
    live = select(Annotation).where(Annotation.task_id == task_id, ~Annotation.deleted, ~Annotation.skipped)
    annotations = {one.id: one for one in session.scalars(live.order_by(Annotation.id))}
    predictions = session.scalars(select(Prediction).where(Prediction.task_id == task_id).order_by(Prediction.id))
    projects = [one.project_id for one in annotations.values() if one.project_id is not None]
    project = session.get(Project, projects[0]) if projects else None
    judged = judge(
        [_final(one) for one in annotations.values()],
        [_seen(one) for one in predictions],
        project.controls if project else {},
        task.data if (task := session.get(Task, task_id)) else {},
    )
    session.execute(delete(RegionVerdict).where(RegionVerdict.task_id == task_id))
    for one in judged:
        annotation = annotations[one.annotation_id]
        session.add(
            RegionVerdict(
                project_id=annotation.project_id,
                task_id=task_id,
                annotation_id=annotation.id,
                region_id=one.region_id,
                verdict=one.verdict,
                iou=one.iou,
                prediction_id=one.seen.id if one.seen else None,
                model_version=one.seen.model_version if one.seen else None,
                score=one.score,
                predicted_label=one.predicted_label,
                label=one.label,
                reviewer_id=annotation.reviewer_id,
                at=annotation.updated_at,
                outline=one.outline,
                problem=one.problem,
            )
        )
    return Counter(one.verdict for one in judged)


def _final(annotation: Annotation) -> Final:
    return Final(
        annotation.id,
        annotation.parent_prediction,
        shapes(annotation.result),
        annotation.heard_at,
        annotation.received_at,
    )


def _seen(prediction: Prediction) -> Seen:
    return Seen(
        prediction.id,
        prediction.label_studio_id,
        prediction.model_version,
        prediction.score,
        tuple(str(prompt.get("id")) for prompt in prediction.prompts or ()),
        shapes(prediction.result),
        prediction.made_at,
    )
