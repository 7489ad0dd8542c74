"""Brings late predictions to Label Studio, each once, however often anything is restarted."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress

from maskloop.background import repeat
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.queues import QueueName
from maskloop.errors import LabelStudioError, MaskloopError
from maskloop.labelstudio.api import LabelStudioApi, Refused
from maskloop.labelstudio.batch import settle_failure
from maskloop.labelstudio.failures import failed_prefix
from maskloop.labelstudio.ledger import Delivery, Ledger
from maskloop.labelstudio.troubles import Troubles

PAUSE = 1.0
"""Seconds between looks for something to deliver."""
LONGEST_PAUSE = 60.0
LOOK_AT = 8
"""Waiting tasks of each project whose jobs are looked at each time: a job whose worker died twice tells nobody."""
GONE = (404, 410)
DELIVERY = "delivery"
"""What its trouble is about."""

log = logging.getLogger("maskloop.courier")


class Courier:
    """One for a process, in a thread of its own; several processes may have one."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, api: LabelStudioApi, troubles: Troubles) -> None:
        self._ledger = ledger
        self._troubles = troubles
        self._dispatcher = dispatcher
        self._api = api
        self._pause = PAUSE
        self.trouble: MaskloopError | None = None
        """What keeps predictions from being delivered now."""

    def run(self, stop: threading.Event) -> None:
        """Until ``stop`` is set."""
        repeat(self.round, lambda: self._pause, stop)

    def round(self) -> None:
        """Raises QueueUnavailable."""
        self.deliver_due()
        self.find_lost()

    def deliver_due(self) -> int:
        """Delivers all that is due; returns how many. Stops at the first that Label Studio can't take now."""
        count = 0
        while delivery := self._ledger.take():
            try:
                self._deliver(delivery)
            except LabelStudioError as error:
                if isinstance(error, Refused) and error.status in GONE:
                    log.warning("project=%d task=%d is gone: %s", delivery.project, delivery.task, error)
                    self._ledger.drop((delivery.id, delivery.project))
                    continue
                self._ledger.postpone(delivery, self._pause)
                self._hold(error)
                return count
            self._ledger.delivered(delivery)
            if self.trouble:
                self._troubles.note(DELIVERY, "")
            self._pause, self.trouble, count = PAUSE, None, count + 1
        if count:
            log.info("delivered %d late predictions", count)
        return count

    def find_lost(self) -> int:
        """Looks after the tasks that wait longest; returns how many of them were lost, and are failed now."""
        lost = 0
        for entry in self._ledger.oldest_waiting(LOOK_AT):
            if error := self._dispatcher.lost(entry.id, QueueName.BATCH):
                lost += 1
                payload = {"task": {"id": entry.task}, "version": entry.version, "label_config": ""}
                settle_failure(self._ledger, (entry.id, entry.project), payload, error)
        return lost

    def _deliver(self, delivery: Delivery) -> None:
        stored = self._api.predictions(delivery.task)
        versions = {one["model_version"] for one in stored}
        version = delivery.prediction["model_version"]
        if versions & {version, delivery.version}:
            return
        self._api.create_prediction(delivery.project, delivery.task, delivery.prediction)
        for old in stored:
            if str(old["model_version"]).startswith(failed_prefix(delivery.version)):
                with suppress(Refused):
                    self._api.delete_prediction(old["id"])

    def _hold(self, error: LabelStudioError) -> None:
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if str(error) != str(self.trouble):
            log.error("Late predictions can't be delivered now: %s", error)
        self.trouble = error
        self._troubles.note(DELIVERY, str(error))
