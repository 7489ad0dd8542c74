"""A project's classes, learned by themselves from its reviews: in seconds, as soon as there is enough that is new."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from maskloop.errors import BadRequest
from maskloop.learning.approved import count_labels
from maskloop.learning.classes import FEWEST, Classes
from maskloop.learning.classifiers import Classifiers, of_project
from maskloop.learning.examples import MOST, Describe, from_reviews, learn, newest
from maskloop.learning.store import FeedbackStore
from maskloop.sam.values import Image

GROWTH = 1.2
"""Learned again when there are so many times as many examples, or another class."""

log = logging.getLogger(__name__)


class Namer:
    """The handler of ``orders.CLASSES`` jobs. load: a task's image."""

    def __init__(
        self, store: FeedbackStore, classifiers: Classifiers, load: Callable[[str], Image], describe: Describe
    ) -> None:
        self._store, self._classifiers = store, classifiers
        self._load, self._describe = load, describe

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Gives the ``classes`` that were learned, none if nothing was due."""
        project = int(payload["project"])
        if not is_due(count_labels(self._store, project), self._classifiers.find(of_project(project))):
            return {"classes": []}
        photos = newest(from_reviews(self._store, project, self._load))
        try:
            found = learn(photos, self._describe)
        except BadRequest as error:
            log.info("project=%d classes: %s", project, error)
            return {"classes": []}
        self._classifiers.put(of_project(project), found)
        log.info("project=%d classes: %s, %.0f %% right", project, ", ".join(found.names), 100 * found.right)
        return {"classes": list(found.names)}


def is_due(examples: Mapping[str, int], known: Classes | None) -> bool:
    """Whether there are enough of some classes to learn them, and enough of it is new."""
    learnable = {label: min(count, MOST) for label, count in examples.items() if count >= FEWEST}
    if len(learnable) < 2:
        return False
    return known is None or set(known.names) != set(learnable) or sum(learnable.values()) >= GROWTH * known.examples
