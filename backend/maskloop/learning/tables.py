"""The feedback database. Facts first (events), then what they add up to, then what that says (verdicts).

Everything but ``events`` and ``audit`` can be computed again from ``events``.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite, which knows no time zones, gets it without."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Outcome(enum.StrEnum):
    """What became of an event."""

    APPLIED = "applied"
    OUTDATED = "outdated"
    IGNORED = "ignored"
    REFUSED = "refused"


class Verdict(enum.StrEnum):
    """What a person did with a predicted region."""

    ACCEPTED = "accepted"
    EDITED = "edited"
    REJECTED = "rejected"
    ADDED = "added"


class Decision(enum.StrEnum):
    """What a reviewer says of a task."""

    APPROVED = "approved"
    REJECTED = "rejected"
    FLAGGED = "flagged"


Serial = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up by itself in INTEGER keys only."""


class Base(DeclarativeBase):
    type_annotation_map = {datetime: Utc, Any: JSON, int: BigInteger, float: Double}  # noqa: RUF012


class Event(Base):
    """A message as it came, without the secrets in it. ``identity`` is the sha256 of its content."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    identity: Mapped[str] = mapped_column(String(64), unique=True)
    source: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime]
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    """JSON, zlib-compressed."""
    outcome: Mapped[str | None] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(Text, default="")


class Project(Base):
    """A Label Studio project, as last heard of. ``controls``: its control tags, as Label Studio parses them."""

    __tablename__ = "projects"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    title: Mapped[str] = mapped_column(Text)
    controls: Mapped[Any]
    label_config: Mapped[str] = mapped_column(Text)
    heard_at: Mapped[datetime]


class Task(Base):
    """A Label Studio task. ``data`` names its image. One that was deleted stays as a tombstone."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    project_id: Mapped[int | None] = mapped_column(index=True)
    data: Mapped[Any]
    heard_at: Mapped[datetime]
    deleted: Mapped[bool] = mapped_column(default=False)


class Annotation(Base):
    """An annotation in its latest state. One that was deleted stays as a tombstone: late events don't revive it.

    Only its id is known of one whose deletion came first.
    """

    __tablename__ = "annotations"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    task_id: Mapped[int | None] = mapped_column(index=True)
    project_id: Mapped[int | None] = mapped_column(index=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"))
    identity: Mapped[str] = mapped_column(String(64))
    updated_at: Mapped[datetime]
    heard_at: Mapped[datetime]
    """When it was first heard of; ``received_at``: its latest state."""
    received_at: Mapped[datetime]
    reviewer_id: Mapped[str | None] = mapped_column(String(64))
    lead_time: Mapped[float | None]
    """Seconds that the annotator spent."""
    parent_prediction: Mapped[int | None]
    result: Mapped[Any]
    skipped: Mapped[bool] = mapped_column(default=False)
    converted: Mapped[bool] = mapped_column(default=False)
    """Made of predictions in bulk: nobody looked at each."""
    ground_truth: Mapped[bool] = mapped_column(default=False)
    deleted: Mapped[bool] = mapped_column(default=False)


class Prediction(Base):
    """An answer of the model that a person could see: to a task, or, with ``prompts``, to clicks in it."""

    __tablename__ = "predictions"

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    identity: Mapped[str] = mapped_column(String(64), unique=True)
    task_id: Mapped[int] = mapped_column(index=True)
    project_id: Mapped[int | None] = mapped_column(index=True)
    label_studio_id: Mapped[int | None] = mapped_column(index=True)
    model_version: Mapped[str] = mapped_column(String(256))
    score: Mapped[float | None]
    """As people saw it."""
    prompts: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    result: Mapped[Any]
    made_at: Mapped[datetime]


class Certainty(Base):
    """What the model thought of a task's prediction, before that became a chance.

    Not in the prediction's row, which is as long as its masks: SQLite would read through all of them.
    """

    __tablename__ = "certainties"

    prediction_id: Mapped[int] = mapped_column(
        Serial, ForeignKey("predictions.id"), primary_key=True, autoincrement=False
    )
    predicted_iou: Mapped[float]
    """Mean of its regions."""


class RegionVerdict(Base):
    """What became of one region: predicted and kept, changed or dropped, or drawn by a person."""

    __tablename__ = "region_verdicts"
    __table_args__ = (Index("region_verdicts_of_task", "task_id", "annotation_id", "region_id", unique=True),)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    project_id: Mapped[int | None] = mapped_column(index=True)
    task_id: Mapped[int]
    annotation_id: Mapped[int] = mapped_column(ForeignKey("annotations.id"))
    region_id: Mapped[str] = mapped_column(String(256))
    verdict: Mapped[str] = mapped_column(String(16))
    iou: Mapped[float | None]
    """Of prediction and final mask, when edited."""
    prediction_id: Mapped[int | None] = mapped_column(ForeignKey("predictions.id"))
    model_version: Mapped[str | None] = mapped_column(String(256))
    score: Mapped[float | None]
    predicted_label: Mapped[str | None] = mapped_column(Text)
    label: Mapped[str | None] = mapped_column(Text)
    reviewer_id: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(index=True)
    outline: Mapped[bool]
    """Whether the final region says which pixels are the object's."""
    problem: Mapped[str] = mapped_column(Text, default="")
    """Why the region can't be learned from; empty if it can."""


class Review(Base):
    """A reviewer's explicit word on a task."""

    __tablename__ = "reviews"

    event_id: Mapped[int] = mapped_column(ForeignKey("events.id"), primary_key=True, autoincrement=False)
    task_id: Mapped[int] = mapped_column(index=True)
    reviewer_id: Mapped[str] = mapped_column(String(64))
    decision: Mapped[str] = mapped_column(String(16))
    comment: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime]


class AuditLine(Base):
    """What changed, and through whom. The database refuses to change or delete a line."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(256))
    details: Mapped[Any]
