"""Who asks for training: Start Training, enough new reviews, a schedule; and when classes are learned. One job for a
project at a time.

Knows no network: servers order, workers train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, product

from pydantic import BaseModel, ConfigDict

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Ticket
from maskloop.dispatch.queues import QueueName
from maskloop.learning.approved import count_labels, count_reviewed
from maskloop.learning.classes import FEWEST, MOST
from maskloop.learning.classifiers import Classifiers, of_project
from maskloop.learning.registry import Registry
from maskloop.learning.store import FeedbackStore

KIND = "train"
"""Of the job."""
CLASSES = "classes"
"""Of the job that learns a project's classes, which takes seconds: batch workers do it before what waits there."""
GROWTH = 1.2
"""Classes are learned again when there are so many times as many examples, or another class."""
RETRY = timedelta(hours=1)
"""After which that is tried again if so many times as many are there as could be read."""

REST = 20.0
"""A project's figures are looked at again after so many times as long as that took, at the earliest."""


class Order(BaseModel):
    """The job's payload."""

    model_config = ConfigDict(frozen=True)

    project: int


def source(project: int) -> str:
    """What the data of a version that learned from a project's reviews names as its source."""
    return f"project {project}"


def is_due(store: FeedbackStore, registry: Registry, project: int, every: int) -> bool:
    """Whether at least ``every`` masks of a project were reviewed since a version last learned from it.

    Raises FeedbackUnavailable.
    """
    moments = [
        one.data.read_until or one.made_at
        for one in registry.versions()
        if one.data and one.data.source == source(project)
    ]
    last = max((moment for moment in moments if moment is not None), default=None)
    return sum(count_reviewed(store, project, last).values()) >= every


def classes_due(store: FeedbackStore, classifiers: Classifiers, project: int) -> dict[str, int]:
    """How many examples there are of each class, if a project's are to be learned now; otherwise nothing.

    Raises FeedbackUnavailable, BadRequest or WeightsError if what was learned is damaged.
    """
    examples = {label: min(count, MOST) for label, count in count_labels(store, project).items() if count >= FEWEST}
    last, known = classifiers.last_attempt(of_project(project)), classifiers.find(of_project(project))
    if len(examples) < 2:
        return {}
    if last is None or last.examples.keys() != examples.keys():
        return examples
    had, read = sum(last.examples.values()), known.examples if known else 0
    grown = sum(examples.values()) >= GROWTH * had
    missed = had >= GROWTH * read and datetime.now(UTC) - last.at > RETRY
    return examples if grown or missed else {}


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
    """Have a project's classes learned. Raises QueueUnavailable or QueueFull."""
    return dispatcher.submit(
        CLASSES,
        {"project": project},
        queue=QueueName.BATCH,
        deadline=None,
        key=f"{CLASSES}-{project}",
        on_same_key="join",
        first=True,
    )


class Follower:
    """What a server does beside answering: brings recorded events into the database, and does each of ``steps`` for
    every project that got new verdicts, whoever brought them in; at first for all.

    What they count takes the longer the larger a project is, so that a large one is looked at less often: see ``REST``.
    """

    def __init__(
        self,
        store: FeedbackStore,
        steps: Sequence[Callable[[int], object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._steps, self._clock = store, steps, clock
        self._seen: int | None = None
        self._left: set[tuple[int, Callable[[int], object]]] = set()
        self._rests: dict[int, float] = {}
        self._errors: dict[int, list[Exception]] = {}

    def round(self) -> None:
        """What fails is done again in a later round; until it is, each raises a group of the errors, at its end."""
        self._store.process_pending()
        seen, projects = self._store.judged_since(self._seen)
        self._left |= set(product(projects, self._steps))
        self._seen = seen
        for project in sorted({project for project, _ in self._left}):
            start = self._clock()
            if start >= self._rests.get(project, start):
                self._errors[project] = list(self._follow(project))
                self._rests[project] = start + REST * (self._clock() - start)
        if errors := list(chain.from_iterable(self._errors.values())):
            raise ExceptionGroup("Not all of a round could be done.", errors)

    def _follow(self, project: int) -> Iterator[Exception]:
        for step in self._steps:
            if (project, step) in self._left:
                try:
                    step(project)
                    self._left.remove((project, step))
                except Exception as error:  # noqa: BLE001  # raised by the round
                    yield error


def order_all(store: FeedbackStore, registry: Registry, dispatcher: Dispatcher) -> None:
    """Have every project trained that has anything new, as a schedule asks. Raises FeedbackUnavailable or
    QueueUnavailable."""
    store.process_pending()
    _, projects = store.judged_since(None)
    for project in sorted(projects):
        if is_due(store, registry, project, 1):
            submit(dispatcher, Order(project=project))
