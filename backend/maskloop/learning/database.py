"""The feedback database: SQLite in a file by default, PostgreSQL by URL."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from maskloop.learning.spool import FeedbackUnavailable

LOCK = zlib.crc32(b"maskloop feedback")
"""Names the lock that those who write to a PostgreSQL database take in turn."""
BUSY_TIMEOUT = 30.0
"""How long to wait for another writer, seconds."""
ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""PostgreSQL's machine counts as gone after so many unanswered questions, so many seconds apart."""
REPLACE = "Restore it from a backup, or move it away and run `maskloop sync`."
DAMAGED = sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB
PAUSE = wait_random(0, 0.1)


def default_file(data_dir: Path) -> Path:
    return data_dir / "feedback.db"


def default_url(data_dir: Path) -> str:
    return f"sqlite:///{default_file(data_dir)}"


def connect(url: str) -> Engine:
    """An engine for ``url``; nothing is connected yet. ``postgresql://`` is served by psycopg 3."""
    parsed = make_url(url)
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": 5, **ALIVE})
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def connect_to_read(file: Path) -> Engine:
    """An engine for an SQLite file that stays as it is; nothing is connected yet."""
    return create_engine(URL.create("sqlite", database=file.absolute().as_uri(), query={"mode": "ro", "uri": "true"}))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Readers beside a writer, commits that survive a power cut, and transactions that begin when we say so."""
    connection.isolation_level = None
    for attempt in Retrying(
        retry=retry_if_exception(_is_busy), stop=stop_after_delay(BUSY_TIMEOUT), wait=PAUSE, reraise=True
    ):
        with attempt:  # SQLite itself doesn't wait for others who do this to a new file
            connection.execute("PRAGMA journal_mode=WAL")
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _is_busy(error: BaseException) -> bool:
    return isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """A session that sees one state. Raises FeedbackUnavailable if the database can't be reached."""
    with _explained(), Session(engine) as session:
        yield session


@contextmanager
def writing(engine: Engine) -> Iterator[Session]:
    """A session that commits at its end, one at a time in the whole database. Raises FeedbackUnavailable."""
    with _explained(), engine.connect().execution_options(writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT:g}s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        with Session(connection) as session:
            yield session
            session.flush()


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not is_unusable(error):
            raise
        hint = REPLACE if _is_damaged(error) else "Events wait on disk until it can."
        told = " ".join(str(error.orig).split()).rstrip(".?")
        raise FeedbackUnavailable(f"The feedback database can't be used: {told}.", hint) from error


def is_unusable(error: BaseException) -> bool:
    """Whether the database is at fault, and not what it was given."""
    return isinstance(error, DBAPIError) and (
        isinstance(error, OperationalError) or error.connection_invalidated or _is_damaged(error)
    )


def _is_damaged(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in DAMAGED


def migrate(engine: Engine, revision: str = "head") -> None:
    """Bring the tables to a revision, the code's if none is named; safe when several processes do so at once.

    Raises FeedbackUnavailable.
    """
    config = Config()
    config.set_main_option("script_location", "maskloop:learning/migrations")
    with writing(engine) as session:
        connection = config.attributes["connection"] = session.connection()
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            found = MigrationContext.configure(connection).get_current_revision()
            raise FeedbackUnavailable(
                f"The feedback database was made by a newer maskloop (revision {found}).",
                "Run that one, or restore the database from before. Events wait on disk until then.",
            ) from error
