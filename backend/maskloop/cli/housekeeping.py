"""What goes on beside answering: feedback into the database, training when it is due, late predictions delivered, the
next images encoded, and Label Studio's projects shown the version in service.

A process of its own: in the server's, each of its turns would hold up the clicks.
"""

from __future__ import annotations

import os
import signal
import threading
from functools import partial

from maskloop.background import Task, repeat, running
from maskloop.cli.logs import log_to_stderr
from maskloop.cli.options import with_settings
from maskloop.cli.schedule import local_time, times
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.private_redis import redis_of
from maskloop.labelstudio.connect import connect_ahead, connect_courier, connect_showing
from maskloop.labelstudio.troubles import Troubles
from maskloop.learning.acceptance import follow_verdicts
from maskloop.learning.classifiers import classifiers_of
from maskloop.learning.follower import Follower
from maskloop.learning.orders import check_trainings, classes_due, is_due, order_all, submit, submit_classes
from maskloop.learning.store import open_store
from maskloop.learning.versions import registry_of, version_of
from maskloop.settings import Settings

NICENESS = 5
"""Clicks come first."""
FEEDBACK_PAUSE, TRAINING_PAUSE = 1.0, 10.0
"""Seconds between looks."""


def keep_house(settings: Settings) -> None:
    """Started by `maskloop serve`, beside the server, until told to stop."""
    log_to_stderr(settings.log_level)
    os.nice(NICENESS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    redis, store = redis_of(settings), open_store(settings)
    dispatcher = Dispatcher(redis, {})
    registry, classifiers = registry_of(settings), classifiers_of(settings)

    def refit(project: int) -> None:
        served = registry.in_service(project)
        follow_verdicts(store, registry, served, version_of(served), project)

    def name(project: int) -> None:
        if classes_due(store, classifiers, project):
            submit_classes(dispatcher, project)

    def train(project: int) -> None:
        if settings.train_every and is_due(store, registry, project, settings.train_every):
            submit(dispatcher, project)

    follower, troubles = Follower(store, [refit, name, train]), Troubles(redis)

    troubles.forget()

    def follow() -> None:
        with troubles.noting("feedback"):
            follower.round()

    def look_after_trainings() -> None:
        with troubles.noting("training"):
            check_trainings(store, dispatcher)

    tasks: list[Task] = [
        partial(repeat, follow, lambda: FEEDBACK_PAUSE),
        partial(repeat, look_after_trainings, lambda: TRAINING_PAUSE),
    ]
    if settings.train_schedule:
        left = times(settings.train_schedule, local_time)
        tasks.append(partial(repeat, partial(order_all, store, registry, dispatcher), left))
    if courier := connect_courier(settings):
        tasks.append(courier.run)
    if ahead := connect_ahead(settings):
        tasks.append(ahead.run)
    if showing := connect_showing(settings):
        tasks.append(showing.run)
    with running(tasks):
        stop.wait()


command = with_settings(keep_house)
