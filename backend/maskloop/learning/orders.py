"""Who asks for training: Start Training, enough new reviews, a schedule; and when classes are learned. One job for a
project at a time.

Knows no network: servers order, workers train.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.jobs import Ticket, WorkerLost
from maskloop.dispatch.queues import QueueName
from maskloop.learning.approved import count_labels, count_reviewed
from maskloop.learning.classes import FEWEST, MOST
from maskloop.learning.classifiers import Classifiers, of_project
from maskloop.learning.registry import ModelVersion, Registry, TrainingData
from maskloop.learning.store import FeedbackStore

KIND = "train"
"""Of the job."""
CLASSES = "classes"
"""Of the job that learns a project's classes, which takes seconds: batch workers do it before what waits there."""
GROWTH = 1.2
"""Classes are learned again when there are so many times as many examples, or another class."""
RETRY = timedelta(hours=1)
"""After which that is tried again if so many times as many are there as could be read."""


def source(project: int) -> str:
    """What the data of a version that learned from a project's reviews names as its source."""
    return f"project {project}"


def learned_from(version: ModelVersion, project: int) -> TrainingData | None:
    """What a version learned from a project's reviews, if that is what it learned from."""
    return version.data if version.data and version.data.source == source(project) else None


def is_due(store: FeedbackStore, registry: Registry, project: int, every: int) -> bool:
    """Whether at least ``every`` masks of a project were reviewed since a version last learned from it, or was judged.

    Raises FeedbackUnavailable.
    """
    moments: list[datetime | None] = []
    for one in registry.versions():
        if data := learned_from(one, project):
            judged = registry.judgement(one.name)
            moments += [data.read_until or one.made_at, judged.read_until if judged else None]
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


def submit(dispatcher: Dispatcher, project: int) -> Ticket:
    """Have a project trained; if its training waits or runs already, that is the one. Raises QueueUnavailable."""
    return dispatcher.submit(
        KIND,
        {"project": project},
        queue=QueueName.TRAIN,
        deadline=None,
        key=key_of(project),
        on_same_key="join",
    )


def key_of(project: int) -> str:
    """Of a project's training jobs."""
    return f"{KIND}-{project}"


def check_trainings(store: FeedbackStore, dispatcher: Dispatcher) -> None:
    """What no worker is left to tell: raises a group with an error for each project whose last training died with its
    worker, twice. Raises FeedbackUnavailable or QueueUnavailable."""
    _, projects = store.judged_since(None)
    hint = "Its log says why; too little memory is likely. Start Training goes on where it was."
    died = [
        WorkerLost(f"Training of project {project}: the worker died, twice.", hint)
        for project in sorted(projects)
        if isinstance(dispatcher.lost(key_of(project), QueueName.TRAIN), WorkerLost)
    ]
    if died:
        raise ExceptionGroup("Trainings died.", died)


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


def order_all(store: FeedbackStore, registry: Registry, dispatcher: Dispatcher) -> None:
    """Have every project trained that has anything new, as a schedule asks. Raises FeedbackUnavailable or
    QueueUnavailable."""
    store.process_pending()
    _, projects = store.judged_since(None)
    for project in sorted(projects):
        if is_due(store, registry, project, 1):
            submit(dispatcher, project)
