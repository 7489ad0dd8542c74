"""What the model thought of tasks, beside what people saw of it; and annotations judged anew, as a mask that was kept
and only given its label counted as edited.

The latter in the background, a task at a time: it takes the code's rules, and on many tasks a while.
"""

from __future__ import annotations

import zlib
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from maskloop.learning.events import JUDGE_ANEW, canonical, sha256
from maskloop.learning.migrations.certainties import keep_certainties

revision = "0004"
down_revision = "0003"
FIELDS = "identity", "source", "action", "payload", "reason"


def upgrade() -> None:
    keep_certainties()
    judge_anew()


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
