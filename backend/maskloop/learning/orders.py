"""Who asks for training: Start Training, enough new reviews, a schedule. One job for a project at a time.

Knows no network: servers order, workers train.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Ticket
from maskloop.dispatch.queues import QueueName
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Project

KIND = "train"
"""Of the job."""
CLASSES = "classes"
"""Of the job that learns a project's classes, which takes seconds: batch workers do it before what waits there."""


class Order(BaseModel):
    """The job's payload. every: train only if so many masks were reviewed since the last time; 0: in any case."""

    model_config = ConfigDict(frozen=True)

    project: int
    every: int = Field(0, ge=0)


def submit(dispatcher: Dispatcher, order: Order) -> Ticket:
    """Have a project trained; if its training waits or runs already, that is the one. Raises QueueUnavailable."""
    return dispatcher.submit(
        KIND,
        order.model_dump(),
        queue=QueueName.TRAIN,
        deadline=None,
        key=f"{KIND}-{order.project}",
        on_same_key="join",
    )


def submit_classes(dispatcher: Dispatcher, project: int) -> Ticket:
    """Have a project's classes learned, if that is due. Raises QueueUnavailable or QueueFull."""
    return dispatcher.submit(
        CLASSES,
        {"project": project},
        queue=QueueName.BATCH,
        deadline=None,
        key=f"{CLASSES}-{project}",
        on_same_key="join",
        first=True,
    )


def follow_reviews(
    store: FeedbackStore, dispatcher: Dispatcher, every: int, refit: Callable[[int], object] = lambda _: None
) -> None:
    """One round of what a server does beside answering: bring recorded events into the database, have the scores of
    projects with new verdicts fitted to them, and have those trained that got ``every`` new masks; 0: none.

    Raises QueueUnavailable or FeedbackUnavailable.
    """
    progress = store.process_pending()
    for project in sorted(progress.projects):
        refit(project)
        if every:
            submit(dispatcher, Order(project=project, every=every))


def order_all(store: FeedbackStore, dispatcher: Dispatcher) -> None:
    """Have every project trained that has anything new, as a schedule asks. Raises FeedbackUnavailable or
    QueueUnavailable."""
    store.process_pending()
    with store.session() as session:
        projects = sorted(session.scalars(select(Project.id)))
    for project in projects:
        submit(dispatcher, Order(project=project, every=1))
