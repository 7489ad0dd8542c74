"""What a server does as reviews come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, product

from maskloop.learning.store import FeedbackStore

REST = 20.0
"""A project's figures are looked at again after so many times as long as that took, at the earliest."""


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
        trouble = self._store.process_pending().trouble
        seen, projects = self._store.judged_since(self._seen)
        self._left |= set(product(projects, self._steps))
        self._seen = seen
        for project in sorted({project for project, _ in self._left}):
            start = self._clock()
            if start >= self._rests.get(project, start):
                self._errors[project] = list(self._follow(project))
                self._rests[project] = start + REST * (self._clock() - start)
        if errors := [*filter(None, [trouble]), *chain.from_iterable(self._errors.values())]:
            raise ExceptionGroup("Not all of a round could be done.", errors)

    def _follow(self, project: int) -> Iterator[Exception]:
        for step in self._steps:
            if (project, step) in self._left:
                try:
                    step(project)
                    self._left.remove((project, step))
                except Exception as error:  # noqa: BLE001  # raised by the round
                    yield error
