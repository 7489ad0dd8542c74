"""What the model thought of tasks, beside what people saw of it; and annotations judged anew, as a mask that was kept
and only given its label counted as edited.

The latter in the background, a task at a time: it takes the code's rules, and on many tasks a while.
"""

from __future__ import annotations

import logging
import zlib
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from maskloop.learning.events import JUDGE_ANEW, canonical, sha256
from maskloop.learning.regions import mean_score

log = logging.getLogger("maskloop.learning.migrations")
revision = "0004"
down_revision = "0003"
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
FIELDS = "identity", "source", "action", "payload", "reason"
PREDICTIONS = 100
"""In memory: some are large."""


def upgrade() -> None:
    keep_certainties()
    judge_anew()


def keep_certainties() -> None:
    certainties = op.create_table(
        "certainties",
        sa.Column("prediction_id", SERIAL, sa.ForeignKey("predictions.id"), primary_key=True, autoincrement=False),
        sa.Column("predicted_iou", sa.Double, nullable=False),
    )
    predictions = sa.table("predictions", sa.column("id"), sa.column("prompts"), sa.column("result", sa.JSON))
    of_tasks = predictions.c.prompts.is_(None)
    connection = op.get_bind()
    if count := connection.scalar(sa.select(sa.func.count()).select_from(predictions).where(of_tasks)):
        log.info("the feedback database is brought up to date: %d predictions are read, which may take minutes", count)
    query = sa.select(predictions.c.id, predictions.c.result).where(of_tasks)
    for part in connection.execute(query, execution_options={"yield_per": PREDICTIONS}).partitions():
        means = [(number, mean_score(result)) for number, result in part]
        if known := [{"prediction_id": number, "predicted_iou": mean} for number, mean in means if mean is not None]:
            connection.execute(certainties.insert(), known)


def judge_anew() -> None:
    annotations = sa.table("annotations", sa.column("task_id"))
    events = sa.table("events", sa.column("received_at", sa.DateTime(timezone=True)), *map(sa.column, FIELDS))
    tasks = sa.select(annotations.c.task_id).where(annotations.c.task_id.is_not(None)).distinct()
    connection = op.get_bind()
    for task in connection.scalars(tasks.order_by(annotations.c.task_id)).all():
        payload = canonical({"action": JUDGE_ANEW, "task": task, "revision": revision})
        connection.execute(
            events.insert().values(
                identity=sha256(b"maskloop" + payload),
                source="maskloop",
                action=JUDGE_ANEW,
                received_at=datetime.now(UTC),
                payload=zlib.compress(payload),
                reason="",
            )
        )
