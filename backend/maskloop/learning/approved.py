"""What a project's people stand behind: of each task the ground truth, or the newest annotation if none is marked so;
nothing if its last reviewer refused it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from maskloop.learning.store import FeedbackStore, ranked_reviews
from maskloop.learning.tables import Annotation, Decision, RegionVerdict, Task, Verdict

AT_ONCE = 100
"""Annotations in memory: some are large."""
USABLE: tuple[ColumnElement[bool], ...] = (RegionVerdict.verdict != Verdict.REJECTED, RegionVerdict.problem == "")
JUDGED = (RegionVerdict.task_id == Annotation.task_id) & (RegionVerdict.annotation_id == Annotation.id)
"""The index of verdicts begins with the task."""


def approved(session: Session, project_id: int) -> Iterator[tuple[Task, Annotation, set[str]]]:
    """Tasks by number, with the ids of their annotation's regions that have no problem."""
    query = select(Task, Annotation).join(Annotation, Annotation.task_id == Task.id).where(*_standing(project_id))
    found = session.execute(query.order_by(Task.id), execution_options={"yield_per": AT_ONCE})
    for some in found.partitions():
        columns = select(RegionVerdict.annotation_id, RegionVerdict.region_id)
        usable = defaultdict(set)
        for annotation_id, region_id in session.execute(
            columns.where(RegionVerdict.task_id.in_([task.id for task, _ in some]), *USABLE)
        ):
            usable[annotation_id].add(region_id)
        for task, annotation in some:
            yield task, annotation, usable[annotation.id]


def count_reviewed(store: FeedbackStore, project_id: int, since: datetime | None = None) -> dict[int, int]:
    """By task, masks from which a model could learn, of all or of those heard of since. Raises FeedbackUnavailable."""
    query = (
        select(Task.id, func.count())
        .join(Annotation, Annotation.task_id == Task.id)
        .join(RegionVerdict, JUDGED)
        .where(*_standing(project_id, since), *USABLE, RegionVerdict.outline)
        .group_by(Task.id)
    )
    if since is not None:
        query = query.where(Annotation.received_at > since)
    with store.session() as session:
        return {task: int(count) for task, count in session.execute(query)}


def count_labels(store: FeedbackStore, project_id: int) -> Counter[str]:
    """Regions of each label; an annotation's rectangles only of labels that no outline of it has: both may show one
    object. Raises FeedbackUnavailable.
    """
    columns = RegionVerdict.annotation_id, RegionVerdict.outline, RegionVerdict.label
    query = (
        select(*columns, func.count())
        .join(Annotation, JUDGED)
        .join(Task, Task.id == Annotation.task_id)
        .where(*_standing(project_id), *USABLE, RegionVerdict.label.is_not(None))
        .group_by(*columns)
    )
    found: dict[bool, dict[tuple[int, str], int]] = {True: {}, False: {}}
    with store.session() as session:
        for annotation, outline, label, count in session.execute(query):
            found[outline][annotation, str(label)] = count
    total: Counter[str] = Counter()
    for (_, label), count in (found[False] | found[True]).items():
        total[label] += count
    return total


def last_heard(store: FeedbackStore, project_id: int) -> datetime | None:
    """When the last annotation of a project came. Raises FeedbackUnavailable."""
    with store.session() as session:
        return session.scalar(select(func.max(Annotation.received_at)).where(Annotation.project_id == project_id))


def _standing(project_id: int, since: datetime | None = None) -> list[ColumnElement[bool]]:
    """Which annotations those are, and their tasks; of all tasks, or of those that got any annotation since."""
    own = Annotation.project_id == project_id
    if since is not None:
        own = Annotation.task_id.in_(select(Annotation.task_id).where(own, Annotation.received_at > since))
    rank = func.row_number().over(
        partition_by=Annotation.task_id,
        order_by=(Annotation.ground_truth.desc(), Annotation.updated_at.desc(), Annotation.id.desc()),
    )
    newest = (
        select(Annotation.id, rank.label("rank"))
        .where(own, ~Annotation.deleted, ~Annotation.skipped, ~Annotation.converted)
        .subquery()
    )
    reviews = ranked_reviews()
    refused = select(reviews.c.task_id).where(reviews.c.rank == 1, reviews.c.decision != Decision.APPROVED)
    return [
        Annotation.id.in_(select(newest.c.id).where(newest.c.rank == 1)),
        ~Task.deleted,
        Task.id.not_in(refused),
    ]
