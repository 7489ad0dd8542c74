"""The table of 0004, where that was another migration when it ran: it was written anew twice.

What was refused for want of the table is looked at again.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from maskloop.learning.migrations.certainties import keep_certainties

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    connection = op.get_bind()
    if sa.inspect(connection).has_table("certainties"):
        return
    keep_certainties()
    events = sa.table("events", *map(sa.column, ("outcome", "reason")))
    for_want_of_it = (events.c.outcome == "refused") & events.c.reason.contains("certainties")
    connection.execute(events.update().where(for_want_of_it).values(outcome=None, reason=""))
