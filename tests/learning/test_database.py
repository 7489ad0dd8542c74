"""The tables are made by migrations, on SQLite and on PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from maskloop.learning.database import connect, migrate, reading, writing
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Base


def test_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert not differences


def test_processes_that_start_together_may_all_migrate(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [connect(url) for _ in range(4)]))


@pytest.mark.parametrize("change", ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit"])
def test_no_line_of_the_audit_is_ever_rewritten(store: FeedbackStore, url: str, change: str) -> None:
    store.record_action("ann@example.org", "promote", "model v2", {"from": "v1"})
    store.process_pending()
    with pytest.raises(DBAPIError, match="append-only"), writing(connect(url)) as session:
        session.execute(text(change))
    with reading(connect(url)) as session:
        assert session.scalars(text("SELECT actor FROM audit")).all() == ["ann@example.org"]


def test_a_database_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    store = FeedbackStore.open(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(FeedbackUnavailable, match="can't be used"):
        store.tasks_to_review(1)
