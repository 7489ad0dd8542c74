"""Had annotations judged anew, as 0004 does since by newer rules."""

from __future__ import annotations

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
