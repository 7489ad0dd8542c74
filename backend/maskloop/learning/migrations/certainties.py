"""What two migrations share: see 0006."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from alembic import op

from maskloop.learning.regions import mean_score

log = logging.getLogger("maskloop.learning.migrations")
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
PREDICTIONS = 100
"""In memory: some are large."""


def keep_certainties() -> None:
    """Makes the table of what the model thought of tasks, from the predictions that there are."""
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
