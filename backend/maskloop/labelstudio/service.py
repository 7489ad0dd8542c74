"""The backend as Label Studio calls it. Our own server and the model class are two doors to it.

It parses and refuses what can't be understood, hands the work to workers, and waits. What people get to see of an error
is in :mod:`~maskloop.labelstudio.failures`.

For a server: MaskloopErrors leave these calls as they are. What status they become matters to those who call the API;
Label Studio tells its users the status and no body. ``/health`` should not answer 200 while no work can be done: Label
Studio then shows the backend as disconnected, and doesn't say "retrieved" of predictions that never come.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from threading import Event
from typing import Any

from pydantic import ValidationError
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.queues import QueueName, full, is_full
from maskloop.errors import BadRequest, MaskloopError, QueueUnavailable
from maskloop.labelstudio import proposing
from maskloop.labelstudio.ahead import Visit, Visits
from maskloop.labelstudio.batch import Batches
from maskloop.labelstudio.failures import message, message_of
from maskloop.labelstudio.handlers import UNPROPOSED, payload_of, prediction
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.notes import note
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.projects import Projects
from maskloop.labelstudio.prompts import read_click
from maskloop.labelstudio.troubles import Troubles
from maskloop.labelstudio.wire import PredictRequest, SetupRequest, TasksToReviewRequest, WebhookEvent, faults
from maskloop.learning import orders
from maskloop.learning.calibration import Calibration
from maskloop.learning.events import ReviewGiven
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore
from maskloop.learning.versions import Versions

Json = dict[str, Any]
KIND = "click"
REPLACEMENT = 5.0
"""Seconds that a click waits for a worker to be replaced, up to half the time it has."""
LARGE = 1 << 18
"""Bytes of an event that is read in the background only; none that asks for anything is as large."""

log = logging.getLogger("maskloop.backend")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds until an answer is due."""

    click: float
    batch: float


class Backend:
    """Thread-safe; its calls block until there is an answer.

    delivers: whether a :class:`~maskloop.labelstudio.courier.Courier` brings predictions that are late.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        redis: Redis,
        versions: Versions,
        *,
        patience: Patience,
        delivers: bool,
        feedback: FeedbackStore,
    ) -> None:
        self._dispatcher = dispatcher
        self._redis = redis
        self._projects = Projects(redis)
        self._visits = Visits(redis)
        self._ledger = Ledger(redis)
        self._troubles = Troubles(redis)
        self._batches = Batches(dispatcher, self._ledger, deadline=patience.batch, delivers=delivers)
        self._versions = versions
        self._patience = patience
        self._delivers = delivers
        self._feedback = feedback
        self._notes = ThreadPoolExecutor(1, thread_name_prefix="notes")

    def close(self) -> None:
        self._notes.shutdown()

    def setup(self, body: object) -> Json:
        """``POST /setup``; Label Studio calls it all the time. Raises BadRequest or BadLabelConfig."""
        request = SetupRequest.read(body)
        config = LabelConfig.parse(request.label_config)
        Options.read(request.extra_params)
        if request.project_id is not None:
            self._projects.remember(request.project_id, request.extra_params)
            if self._projects.advise(request.project_id, config.advice):
                log.warning("project=%d %s", request.project_id, config.advice)
            self._note(Visit(request.project_id, None))
        return {"model_version": self.version(request.project_id)}

    def versions(self) -> Json:
        """``GET /versions``: those in service; the request doesn't tell where."""
        return {"versions": list(dict.fromkeys(self._versions.answering().values()))}

    def version(self, project: int | None) -> str:
        """Of the model in service in a project."""
        return self._versions.in_service(project)

    def predict(self, body: object, stop: Event | None = None) -> Json:
        """``POST /predict``: ``{"results": [...]}``, one for each task, in their order.

        A task of a batch gets a prediction, one that says why there is none, or an empty list if Label Studio gets it
        later. Raises MaskloopErrors that concern the whole request; Abandoned soon after ``stop`` is set, but not of a
        click.
        """
        request = PredictRequest.read(body)
        if request.params.context is not None:
            return {"results": [self._click(request)]}
        LabelConfig.parse(request.label_config)
        options, version = self._options(request), self.version(request.project_id)
        payloads = [
            payload_of(request.project_id, task, request.label_config, options, version) for task in request.tasks
        ]
        return {"results": self._batches.predict(payloads, [task.stored_versions for task in request.tasks], stop)}

    def webhook(self, payload: bytes) -> Json:
        """``POST /webhook``: the event is kept when this returns, and training that it starts is in its queue.

        A large one is kept unread: somebody waits for it to be saved. Raises BadRequest if it is no event,
        FeedbackUnavailable, and QueueUnavailable if nobody can train.
        """
        if len(payload) > LARGE:
            log.info("event of %d bytes", len(payload))
            self._feedback.record_event(payload)
            return {}
        try:
            body = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise BadRequest("The event is no JSON.") from error
        event = WebhookEvent.read(body)
        log.info("project=%s event=%s", event.project.id if event.project else "-", event.action)
        self._feedback.record_event(payload)
        if event.action == "START_TRAINING" and event.project is not None:
            orders.submit(self._dispatcher, event.project.id)
        return {}

    def fit(self, event: str, data: Mapping[str, Any]) -> Json:
        """The same, as the official server calls it."""
        return self.webhook(json.dumps({**data, "action": event}).encode())

    def review(self, body: Json) -> Json:
        """``POST /reviews``: a reviewer's word on a task is kept when this returns.

        body: ``task_id, reviewer_id, decision`` (approved, rejected or flagged), and if wanted ``comment`` and
        ``timestamp`` (ISO 8601; by default now). Raises BadRequest or FeedbackUnavailable.
        """
        try:
            given = ReviewGiven.model_validate({"timestamp": datetime.now(UTC), **body})
        except ValidationError as error:
            raise BadRequest(f"The review is malformed: {faults(error)}.") from error
        self._feedback.record_review(given)
        return given.model_dump(mode="json")

    def tasks_to_review(self, query: Mapping[str, str]) -> Json:
        """``GET /reviews/tasks``: ``{"tasks": [...]}``, those that need a human, the least certain first, by what the
        scores of their predictions are worth now.

        query: ``project``, and if wanted ``limit`` and ``threshold``, a score from which tasks need none.
        Raises BadRequest or FeedbackUnavailable.
        """
        asked = TasksToReviewRequest.read(dict(query))

        def worth(version: str) -> Calibration | None:
            chances = self._versions.chances(version, asked.project)
            return chances.automatic if chances else None

        found = self._feedback.tasks_to_review(asked.project, limit=asked.limit, threshold=asked.threshold, worth=worth)
        return {"tasks": [asdict(one) for one in found]}

    def batches(self) -> Json:
        """How far batches are, and what goes on beside them, for ``/health`` and ``/metrics``.

        delivers: false without a token: what is late can't be brought to Label Studio then. projects: tasks by project
        (:class:`~maskloop.labelstudio.ledger.Tally`). failures: the last ones, each with project, task, reason and
        time. troubles: what doesn't work in the background: why nothing can be delivered now, why Label Studio doesn't
        show the version in service, by project, and why feedback isn't recorded or followed. events: those that aren't
        recorded yet, None if they can't be counted. advice: by project, what is wrong with its labeling configuration.
        """
        troubles, events = self._troubles.all(), None
        if is_full(self._redis):
            troubles["redis"] = str(full())
        try:
            events = self._feedback.waiting()
        except FeedbackUnavailable as error:
            troubles["feedback"] = str(error)
        return {
            "delivers": self._delivers,
            "projects": {str(project): asdict(tally) for project, tally in self._ledger.tallies().items()},
            "failures": self._ledger.failures(),
            "troubles": troubles,
            "events": events,
            "advice": self._projects.advice(),
        }

    def _click(self, request: PredictRequest) -> Json:
        try:
            return self._answer_click(request)
        except MaskloopError as error:
            told = message_of(error, request.label_config)
            if not told:
                raise
            log.warning("project=%s task=%s click: %s", request.project_id, request.tasks[0].id, error)
            return prediction(told, self.version(request.project_id))

    def _answer_click(self, request: PredictRequest) -> Json:
        context, task = request.params.context, request.tasks[0]
        assert context is not None
        if len(request.tasks) > 1:
            raise BadRequest(f"A prompt is for one task, not {len(request.tasks)}.")
        project = request.project_id
        version = self.version(project) if task.id is None else self._versions.for_click(project, task.id)
        config = LabelConfig.parse(request.label_config)
        options = self._options(request)
        click = read_click(config, context, config.images_in(task.data))
        if click is None:
            return prediction(message(config), version)
        config.outputs(click.image.name, click.label, options.outputs)
        payload = payload_of(request.project_id, task, request.label_config, options, version, context)
        ticket = self._dispatcher.submit(
            KIND,
            payload,
            queue=QueueName.INTERACTIVE,
            deadline=self._patience.click,
            key=f"{request.project_id}:{task.id}:{click.key}" if click.key else None,
            patience=min(REPLACEMENT, self._patience.click / 2),
        )
        if request.project_id is not None and task.id is not None:
            self._note(Visit(request.project_id, task.id))
        made: Json = self._dispatcher.wait(ticket)
        if made.pop(UNPROPOSED, False):
            self._notes.submit(proposing.submit, self._dispatcher, payload)
        self._notes.submit(note, self._feedback, payload, made, click)
        return {**made, "result": [*made["result"], *message(config)]}

    def _note(self, visit: Visit) -> None:
        """Nobody waits for it."""
        try:
            self._visits.note(visit)
        except QueueUnavailable as error:
            log.warning("Nothing is encoded ahead of project=%d task=%s: %s", visit.project, visit.task, error)

    def _options(self, request: PredictRequest) -> Options:
        known = None if request.project_id is None else self._projects.extra_params(request.project_id)
        return Options.read(known)
