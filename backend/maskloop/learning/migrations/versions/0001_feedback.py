"""Feedback: events, what they add up to, verdicts, reviews, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("identity", sa.String(64), nullable=False, unique=True),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("ix_events_outcome", "events", ["outcome"])
    op.create_table(
        "projects",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("controls", sa.JSON, nullable=False),
        sa.Column("label_config", sa.Text, nullable=False),
        sa.Column("heard_at", MOMENT, nullable=False),
    )
    op.create_table(
        "tasks",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("project_id", sa.BigInteger),
        sa.Column("data", sa.JSON, nullable=False),
        sa.Column("heard_at", MOMENT, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
    )
    op.create_index("ix_tasks_project_id", "tasks", ["project_id"])
    op.create_table(
        "annotations",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("task_id", sa.BigInteger),
        sa.Column("project_id", sa.BigInteger),
        sa.Column("event_id", SERIAL, sa.ForeignKey("events.id"), nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("reviewer_id", sa.String(64)),
        sa.Column("lead_time", sa.Double),
        sa.Column("parent_prediction", sa.BigInteger),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("skipped", sa.Boolean, nullable=False),
        sa.Column("converted", sa.Boolean, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
    )
    op.create_index("ix_annotations_task_id", "annotations", ["task_id"])
    op.create_index("ix_annotations_project_id", "annotations", ["project_id"])
    op.create_table(
        "predictions",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("identity", sa.String(64), nullable=False, unique=True),
        sa.Column("task_id", sa.BigInteger, nullable=False),
        sa.Column("project_id", sa.BigInteger),
        sa.Column("label_studio_id", sa.BigInteger),
        sa.Column("model_version", sa.String(256), nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("prompts", sa.JSON),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
    )
    for column in ("task_id", "project_id", "label_studio_id"):
        op.create_index(f"ix_predictions_{column}", "predictions", [column])
    op.create_table(
        "region_verdicts",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("project_id", sa.BigInteger),
        sa.Column("task_id", sa.BigInteger, nullable=False),
        sa.Column("annotation_id", sa.BigInteger, sa.ForeignKey("annotations.id"), nullable=False),
        sa.Column("region_id", sa.String(256), nullable=False),
        sa.Column("verdict", sa.String(16), nullable=False),
        sa.Column("iou", sa.Double),
        sa.Column("prediction_id", SERIAL, sa.ForeignKey("predictions.id")),
        sa.Column("model_version", sa.String(256)),
        sa.Column("score", sa.Double),
        sa.Column("predicted_label", sa.Text),
        sa.Column("label", sa.Text),
        sa.Column("reviewer_id", sa.String(64)),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("problem", sa.Text, nullable=False),
    )
    op.create_index(
        "region_verdicts_of_task", "region_verdicts", ["task_id", "annotation_id", "region_id"], unique=True
    )
    op.create_index("ix_region_verdicts_project_id", "region_verdicts", ["project_id"])
    op.create_index("ix_region_verdicts_at", "region_verdicts", ["at"])
    op.create_table(
        "reviews",
        sa.Column("event_id", SERIAL, sa.ForeignKey("events.id"), primary_key=True, autoincrement=False),
        sa.Column("task_id", sa.BigInteger, nullable=False),
        sa.Column("reviewer_id", sa.String(64), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    )
    op.create_index("ix_reviews_task_id", "reviews", ["task_id"])
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        protect_postgresql()
    else:
        protect_sqlite()


def protect_postgresql() -> None:
    """No line of ``audit`` is changed or deleted."""
    op.execute(
        "CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )


def protect_sqlite() -> None:
    """No line of ``audit`` is changed or deleted."""
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER audit_refuses_{change.lower()} BEFORE {change} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
        )
