"""Label Studio's projects show the predictions of the version in service, after a promotion or a rollback too.

A project sorts and samples by the score of its ``model_version``. Connecting a backend sets that to the backend's
title: then Label Studio asks for the prediction of each task that is opened without one, its column of scores is empty,
and uncertainty sampling is random. It refuses a version of which it has no prediction.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import Enum

from redis import Redis

from maskloop.background import repeat
from maskloop.errors import LabelStudioError
from maskloop.labelstudio.ahead import UNCERTAINTY
from maskloop.labelstudio.api import LabelStudioApi, Refused
from maskloop.labelstudio.ledger import Ledger, Tally
from maskloop.labelstudio.projects import Projects
from maskloop.labelstudio.troubles import Troubles

GONE = 404
PAUSE = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0
"""Seconds between looks at a project in which nothing was promoted or predicted meanwhile."""

log = logging.getLogger("maskloop.showing")


class Found(Enum):
    """How it is with a project."""

    SHOWN = "its predictions are shown"
    OTHER = "shows no predictions of maskloop"
    AS_OPENED = "gets predictions as tasks are opened, until all have one"
    UNDER_WAY = "shows it when the predictions under way are there"
    GONE = "is gone"
    MISSING = "shows it once it has predictions of it: retrieve them there"


@dataclass(frozen=True, slots=True)
class _Look:
    """What was so at the last look; when the next one is due, and how long after that the one after it."""

    version: str
    tally: Tally
    due: float
    pause: float


class Showing:
    """Looks after every project that was set up. One for a process, in a thread of its own.

    version: of the model in service in a project. ours: what predictions of any version carry.
    """

    def __init__(
        self,
        redis: Redis,
        api: LabelStudioApi,
        *,
        version: Callable[[int], str],
        ours: Callable[[], Container[str]],
    ) -> None:
        self._projects = Projects(redis)
        self._ledger = Ledger(redis)
        self._troubles = Troubles(redis)
        self._api = api
        self._version = version
        self._ours = ours
        self._looks: dict[int, _Look] = {}

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set."""
        repeat(self.look_around, lambda: PAUSE, stop)

    def look_around(self) -> None:
        """Look at the projects of which something may have changed. Raises QueueUnavailable."""
        tallies = self._ledger.tallies()
        for project in self._projects.all():
            version, tally = self._version(project), tallies.get(project, Tally())
            before = self._looks.get(project)
            now = time.monotonic()
            if before is not None and (before.version, before.tally) == (version, tally):
                if now < before.due:
                    continue
                pause = min(2 * before.pause, LONGEST_PAUSE)
            else:
                pause = FIRST_PAUSE
            self._looks[project] = _Look(version, tally, now + pause, pause)
            self.follow(project, version, tally)

    def follow_all(self) -> dict[int, str]:
        """Look at all projects now; in words how it is with each. Raises QueueUnavailable."""
        tallies, told = self._ledger.tallies(), dict[int, str]()
        for project in self._projects.all():
            found = self.follow(project, self._version(project), tallies.get(project, Tally()))
            told[project] = found.value if found else self._troubles.all().get(str(project), "")
        return told

    def follow(self, project: int, version: str, tally: Tally) -> Found | None:
        """Have a project show ``version`` if it can; None, and it is told, if Label Studio refuses or is away."""
        try:
            found = self._follow(project, version, tally)
        except LabelStudioError as error:
            if isinstance(error, Refused) and error.status == GONE:
                self._projects.forget(project)
                self._troubles.note(str(project), "")
                return Found.GONE
            reason = f"Project {project} doesn't show the predictions of {version}: {error}"
            if self._troubles.all().get(str(project)) != reason:
                log.warning("%s", reason)
            self._troubles.note(str(project), reason)
            return None
        self._troubles.note(str(project), "")
        log.debug("project=%d version=%s %s", project, version, found.value)
        return found

    def _follow(self, project: int, version: str, tally: Tally) -> Found:
        about = self._api.project(project)
        shown = about.get("model_version") or ""
        if shown == version:
            return Found.SHOWN
        if not shown:
            return Found.OTHER  # predictions are switched off
        counts, titles = self._api.versions(project)
        opened = shown in titles
        if not opened and shown not in self._ours():
            return Found.OTHER
        if not counts.get(version):
            return Found.AS_OPENED if opened else Found.MISSING
        if tally.waiting or tally.ready:
            return Found.UNDER_WAY
        if opened and about.get("sampling") != UNCERTAINTY and counts[version] < about.get("task_number", 0):
            return Found.AS_OPENED
        self._api.show_version(project, version)
        log.info("project=%d now shows the predictions of %s, before %s", project, version, shown)
        return Found.SHOWN
