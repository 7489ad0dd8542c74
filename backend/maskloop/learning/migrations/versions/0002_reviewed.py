"""When an annotation was first heard of, and which regions are outlines, to be counted without reading them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from maskloop.learning.regions import is_outline

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    epoch, no = sa.text("'1970-01-01 00:00:00'"), sa.false()
    op.add_column(
        "annotations", sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False, server_default=epoch)
    )
    op.add_column("region_verdicts", sa.Column("outline", sa.Boolean, nullable=False, server_default=no))
    columns = "id", "task_id", "received_at", "heard_at"
    annotations = sa.table("annotations", sa.column("result", sa.JSON), *map(sa.column, columns))
    verdicts = sa.table("region_verdicts", *map(sa.column, ("task_id", "annotation_id", "region_id", "outline")))
    connection = op.get_bind()
    connection.execute(annotations.update().values(heard_at=annotations.c.received_at))
    query = sa.select(annotations.c.id, annotations.c.task_id, annotations.c.result)
    for number, task, result in connection.execute(query, execution_options={"yield_per": ANNOTATIONS}):
        outlines = [region["id"] for region in result if is_outline(region)]
        own = (verdicts.c.task_id == task) & (verdicts.c.annotation_id == number)
        for start in range(0, len(outlines), AT_ONCE):
            found = own & verdicts.c.region_id.in_(outlines[start : start + AT_ONCE])
            connection.execute(verdicts.update().where(found).values(outline=sa.true()))


ANNOTATIONS = 100
"""In memory: some are large."""
AT_ONCE = 500
"""Regions in one statement: databases bound its parameters."""
