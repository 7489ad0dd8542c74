"""Runs migrations on the connection that ``database.migrate`` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from maskloop.learning.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
