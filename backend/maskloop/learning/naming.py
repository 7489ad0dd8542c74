"""A project's classes, learned by themselves from its reviews: in seconds, as soon as there is enough that is new."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from maskloop.errors import BadRequest
from maskloop.learning.classifiers import Attempt, Classifiers, of_project
from maskloop.learning.examples import Describe, from_reviews, learn, newest
from maskloop.learning.orders import classes_due
from maskloop.learning.store import FeedbackStore
from maskloop.sam.values import Image

log = logging.getLogger(__name__)


class Namer:
    """The handler of ``orders.CLASSES`` jobs. load: a task's image."""

    def __init__(
        self, store: FeedbackStore, classifiers: Classifiers, load: Callable[[str], Image], describe: Describe
    ) -> None:
        self._store, self._classifiers = store, classifiers
        self._load, self._describe = load, describe

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Gives the ``classes`` that were learned, none if nothing was due, or too little could be read."""
        project = int(payload["project"])
        examples = classes_due(self._store, self._classifiers, project)
        if not examples:
            return {"classes": []}
        try:
            found = learn(newest(from_reviews(self._store, project, self._load)), self._describe)
        except BadRequest as error:
            log.info("project=%d classes: %s", project, error)
            names = []
        else:
            self._classifiers.put(of_project(project), found)
            names = list(found.names)
            log.info("project=%d classes: %s, %.0f %% right", project, ", ".join(names), 100 * found.right)
        self._classifiers.note(of_project(project), Attempt(at=datetime.now(UTC), examples=examples))
        return {"classes": names}
