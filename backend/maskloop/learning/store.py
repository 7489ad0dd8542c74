"""The feedback store: events in, verdicts out.

    record -> spool: one file each, durable -> drain -> events: each once -> apply -> tasks, annotations, predictions
                                                                                   -> judge -> region verdicts

Only the first step happens while somebody waits. The others may be killed and repeated at any point: an event counts
once by its content, applying it keeps the newest state of each thing whatever the order, and verdicts are computed
anew from that state.
"""

from __future__ import annotations

import logging
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, Subquery, func, insert, inspect, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session

from maskloop.errors import BadRequest
from maskloop.learning import database, events, state
from maskloop.learning.calibration import Calibration
from maskloop.learning.database import reading, writing
from maskloop.learning.events import ReviewGiven
from maskloop.learning.spool import NOT_OURS, FeedbackUnavailable, Source, Spool, Waiting
from maskloop.learning.tables import (
    Annotation,
    AuditLine,
    Certainty,
    Decision,
    Event,
    Outcome,
    Prediction,
    Project,
    Review,
    Task,
)
from maskloop.settings import Settings

log = logging.getLogger(__name__)
OWN: Source = "maskloop"
BATCH = 100
"""Events that go into the database together."""
UNREAD = "UNREADABLE"
"""The action of an event that is no JSON."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What one round did, and what came meanwhile. trouble: some of what waits can't be read."""

    recorded: int
    applied: int
    waiting: int
    trouble: FeedbackUnavailable | None = None


@dataclass(frozen=True, slots=True)
class MadePrediction:
    """An answer that a person may see. ``result``: regions; ``prompts``: the interactive context, if there is one."""

    task_id: int
    project_id: int | None
    model_version: str
    score: float | None
    result: Sequence[Mapping[str, Any]]
    prompts: Sequence[Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class TaskToReview:
    """A task that needs a human. ``score``: the model's certainty, None if it has not answered; ``decision``: the
    last reviewer's, if it sent the task back."""

    task_id: int
    project_id: int
    score: float | None
    model_version: str | None
    decision: Decision | None


class FeedbackStore:
    """Safe for any number of threads and processes on one spool and one database."""

    def __init__(self, engine: Engine, spool: Spool) -> None:
        self._engine = engine
        self._spool = spool
        self._migrated = False

    @classmethod
    def open(cls, data_dir: Path, url: str | None = None) -> FeedbackStore:
        """The store in ``data_dir``, or in the database at ``url``, which need not be up yet."""
        return cls(database.connect(url or database.default_url(data_dir)), Spool(data_dir / "spool"))

    def is_in(self, file: Path) -> bool:
        """Whether that is the database."""
        url = self._engine.url
        return url.get_backend_name() == "sqlite" and Path(url.database or "").resolve() == file.resolve()

    # -- in

    def record_event(self, payload: bytes | Mapping[str, Any]) -> None:
        """Keep a webhook's body: it is on the disk when this returns. Raises FeedbackUnavailable."""
        self._record(payload, "label-studio")

    def record_predictions(self, predictions: Iterable[MadePrediction]) -> None:
        """Note what people are about to see. Raises FeedbackUnavailable."""
        made = [
            {
                "task": one.task_id,
                "project": one.project_id,
                "model_version": one.model_version,
                "score": one.score,
                "result": list(one.result),
                "prompts": None if one.prompts is None else list(one.prompts),
            }
            for one in predictions
        ]
        self._record({"action": events.PREDICTIONS_MADE, "predictions": made}, OWN)

    def record_review(self, review: ReviewGiven) -> None:
        """Keep a reviewer's word on a task. Raises FeedbackUnavailable."""
        self._record({"action": events.REVIEW_GIVEN, "review": review.model_dump(mode="json")}, OWN)

    def record_task(self, project: Mapping[str, Any], task: Mapping[str, Any], fetched_at: datetime) -> None:
        """Keep a task, with all its annotations and predictions, as Label Studio's API had it.

        fetched_at: before the request was sent: an annotation heard of earlier and missing here was deleted.
        Raises FeedbackUnavailable.
        """
        event = {"action": events.TASK_SYNCED, "project": project, "task": task, "fetched_at": fetched_at.isoformat()}
        self._record(event, OWN)

    def record_action(self, actor: str, action: str, subject: str, details: Mapping[str, Any]) -> None:
        """Have what somebody did, such as promoting a version, in the audit. Raises FeedbackUnavailable."""
        moment = datetime.now(UTC).isoformat()
        done = {"actor": actor, "action": action, "subject": subject, "details": dict(details), "at": moment}
        self._record({"action": events.ACTION_TAKEN, "done": done}, OWN)

    def _record(self, payload: bytes | Mapping[str, Any], source: Source) -> None:
        self._spool.put(payload if isinstance(payload, bytes) else events.canonical(payload), source)

    def waiting(self) -> int:
        """Events that are kept, and not in the database yet. Raises FeedbackUnavailable."""
        return len(self._spool)

    def take_over(self, file: Path) -> int:
        """Record the events of another database, in a file, as if they had come here; how many weren't known.

        The file stays as it is. Raises BadRequest if it is no other feedback database, and FeedbackUnavailable.
        """
        if self.is_in(file):
            raise BadRequest(f"{file} is the database in use.", "Name the one to fill with MASKLOOP_DATABASE_URL.")
        other = database.connect_to_read(file)
        self.migrate()
        taken = 0
        columns = Event.identity, Event.source, Event.action, Event.received_at, Event.payload
        with reading(other) as theirs, writing(self._engine) as session:
            if not inspect(theirs.connection()).has_table(Event.__tablename__):
                raise BadRequest(f"{file} is no feedback database.")
            known = set(session.scalars(select(Event.identity)))
            rows = theirs.execute(select(*columns).order_by(Event.id), execution_options={"yield_per": BATCH})
            for part in rows.mappings().partitions():
                if new := [dict(row) for row in part if row["identity"] not in known]:
                    session.execute(insert(Event), new)
                    taken += len(new)
        other.dispose()
        return taken

    # -- in the background

    def process_pending(self) -> Progress:
        """Bring what waits into the database and draw the consequences. Does nothing a second time.

        Raises FeedbackUnavailable while the database is down: what isn't there yet waits on disk.
        """
        self.migrate()
        recorded, trouble = self._drain()
        return Progress(recorded, self._apply_all(), self.waiting(), trouble)

    def migrate(self) -> None:
        """Make or update the tables, once. Raises FeedbackUnavailable."""
        if not self._migrated:
            database.migrate(self._engine)
            self._migrated = True

    def _drain(self) -> tuple[int, FeedbackUnavailable | None]:
        """Passes over what can't be read."""
        recorded, unreadable = 0, list[OSError]()
        waiting = list(self._spool.waiting())
        for start in range(0, len(waiting), BATCH):
            done = []
            with writing(self._engine) as session:
                for one in waiting[start : start + BATCH]:
                    try:
                        raw = one.read()
                    except FileNotFoundError:
                        continue  # another process has recorded it
                    except OSError as error:
                        unreadable.append(error)
                        continue
                    recorded += _insert(session, one, raw)
                    done.append(one)
            for one in done:
                one.remove()
        return recorded, _unread(unreadable)

    def _apply_all(self) -> int:
        applied = 0
        while True:
            with writing(self._engine) as session:
                event = session.scalars(
                    select(Event).where(Event.outcome.is_(None)).order_by(Event.id).limit(1)
                ).first()
                if event is None:
                    return applied
                _apply(session, event)
            applied += 1

    # -- out

    def session(self) -> AbstractContextManager[Session]:
        """To read the tables. Raises FeedbackUnavailable."""
        self.migrate()
        return reading(self._engine)

    def judged_since(self, seen: int | None) -> tuple[int, frozenset[int]]:
        """Projects that got new verdicts after ``seen``, or all for None, and what to ask with the next time.

        Raises FeedbackUnavailable.
        """
        with self.session() as session:
            last = session.scalar(select(func.max(AuditLine.id))) or 0
            if seen is None:
                return last, frozenset(session.scalars(select(Project.id)))
            lines = session.scalars(select(AuditLine.details).where(AuditLine.id > seen, AuditLine.id <= last))
            return last, frozenset(project for details in lines for project in details.get("projects", ()))

    def tasks_to_review(
        self,
        project_id: int,
        *,
        limit: int = 100,
        threshold: float | None = None,
        worth: Callable[[str], Calibration | None] = lambda _: None,
    ) -> list[TaskToReview]:
        """Tasks that need a human, the least certain first.

        Those that nobody annotated or skipped (annotations made of predictions in bulk are nobody's) and whose score is
        below ``threshold``, if there is one, and those that a reviewer sent back. One that the model hasn't answered
        comes before all others.

        worth: of a version, what its scores are worth now, whatever that was when people saw them; None leaves them as
        they were. Raises FeedbackUnavailable.
        """
        newest = (
            select(Prediction.task_id, func.max(Prediction.id).label("id"))
            .join(Task, Task.id == Prediction.task_id)
            .where(Task.project_id == project_id, Prediction.prompts.is_(None))
            .group_by(Prediction.task_id)
            .subquery()
        )
        ranked = ranked_reviews()
        annotated = (
            select(Annotation.id)
            .where(Annotation.task_id == Task.id, ~Annotation.deleted, ~Annotation.converted)
            .exists()
        )
        untouched = ranked.c.decision.is_(None) & ~annotated
        query = (
            select(Task.id, Prediction.score, Certainty.predicted_iou, Prediction.model_version, ranked.c.decision)
            .outerjoin(newest, newest.c.task_id == Task.id)
            .outerjoin(Prediction, Prediction.id == newest.c.id)
            .outerjoin(Certainty, Certainty.prediction_id == newest.c.id)
            .outerjoin(ranked, (ranked.c.task_id == Task.id) & (ranked.c.rank == 1))
            .where(Task.project_id == project_id, ~Task.deleted)
            .where(untouched | ranked.c.decision.in_((Decision.REJECTED, Decision.FLAGGED)))
        )
        with self.session() as session:
            rows = session.execute(query).all()
        scores = _scores_now(rows, worth)
        uncertain = [
            row
            for row in rows
            if row.decision is not None or threshold is None or (score := scores[row.id]) is None or score < threshold
        ]
        uncertain.sort(key=lambda row: (scores[row.id] is not None, scores[row.id] or 0.0, row.id))
        return [
            TaskToReview(row.id, project_id, scores[row.id], row.model_version, row.decision and Decision(row.decision))
            for row in uncertain[:limit]
        ]


def _scores_now(rows: Sequence[Row[Any]], worth: Callable[[str], Calibration | None]) -> dict[int, float | None]:
    """What the scores of tasks are worth; as they were if the model said nothing of a region, or nobody knows."""
    scores = {row.id: row.score for row in rows}
    predicted = defaultdict[str, dict[int, float]](dict)
    for row in rows:
        if row.predicted_iou is not None:
            predicted[row.model_version][row.id] = row.predicted_iou
    for version, ious in predicted.items():
        if (calibration := worth(version)) is not None:
            scores |= zip(ious, calibration(list(ious.values())).round(4).tolist(), strict=True)
    return scores


def ranked_reviews() -> Subquery:
    """``task_id``, ``decision`` and ``rank`` of all reviews: of a task, the last one's rank is 1."""
    rank = func.row_number().over(partition_by=Review.task_id, order_by=(Review.at.desc(), Review.event_id.desc()))
    return select(Review.task_id, Review.decision, rank.label("rank")).subquery()


def open_store(settings: Settings) -> FeedbackStore:
    """The store that the settings name. Raises BadRequest if that is no address of a database."""
    url = settings.database_url
    try:
        return FeedbackStore.open(settings.data_dir, url.get_secret_value() if url else None)
    except (ArgumentError, ImportError, OSError, ValueError) as error:
        raise BadRequest(
            f"The feedback database can't be opened: {error}.",
            "MASKLOOP_DATABASE_URL (--database-url) takes postgresql://user:password@host/name, or sqlite:///file; "
            "without it there is one in the data directory.",
        ) from error


def _unread(errors: Sequence[OSError]) -> FeedbackUnavailable | None:
    if not errors:
        return None
    return FeedbackUnavailable(
        f"{len(errors)} events can't be read, e.g. {errors[0].filename}: {errors[0].strerror}.",
        NOT_OURS,
    )


def _insert(session: Session, waiting: Waiting, raw: bytes) -> int:
    """Record an event unless it is known; 1 if it was new."""
    try:
        content = events.read(raw)
        payload, action, refusal = events.canonical(content), storable(str(content.get("action")))[:64], ""
    except BadRequest as error:
        payload, action, refusal = raw, UNREAD, str(error)
    event = Event(
        identity=events.sha256(waiting.source.encode() + payload),
        source=waiting.source,
        action=action,
        received_at=waiting.received_at,
        payload=zlib.compress(payload),
        outcome=Outcome.REFUSED if refusal else None,
        reason=refusal,
    )
    if session.scalar(select(Event.id).where(Event.identity == event.identity)) is not None:
        return 0
    session.add(event)
    session.flush()
    return 1


def _apply(session: Session, event: Event) -> None:
    """Draw an event's consequences; if something is wrong with it, that is its reason, and the next one goes on."""
    event.reason = ""
    try:
        with session.begin_nested():
            found = events.changes(events.read(zlib.decompress(event.payload)), own=event.source == OWN)
            event.outcome, details = state.apply(session, event, found)
    except Exception as error:
        if database.is_unusable(error):
            raise
        if not isinstance(error, BadRequest):
            log.exception("event %d (%s) can't be applied", event.id, event.action)
        event.outcome, details = Outcome.REFUSED, {}
        reason = str(error) if isinstance(error, BadRequest) else f"{type(error).__name__}: {error}"
        event.reason = storable(reason)[:2000]
    if event.action not in (events.PREDICTIONS_MADE, events.ACTION_TAKEN) or details.get("projects"):
        outcome = {"outcome": event.outcome, "reason": event.reason} | details
        line = AuditLine(actor=event.source, action=event.action, subject=f"event {event.id}", details=outcome)
        line.at = datetime.now(UTC)
        session.add(line)


def storable(text: str) -> str:
    """Without what JSON may hold and a database's text may not: halves of characters, and NUL."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", r"\x00")
