"""A feedback store on each database that maskloop promises to work with, and Label Studio's own webhooks."""

import getpass
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from maskloop.learning import database
from maskloop.learning.store import FeedbackStore

CAPTURES = Path(__file__).parent / "captures"
Event = dict[str, Any]


@pytest.fixture
def webhook() -> Callable[[str], Event]:
    """The body of a captured webhook, by the file's name."""
    return lambda name: json.loads((CAPTURES / f"webhook_{name}.json").read_text())["body"]


@pytest.fixture
def review() -> Callable[..., None]:
    """``review(store, project, *regions)``: somebody annotates the one task of a project."""

    def record(store: FeedbackStore, project: int, *regions: dict[str, object]) -> None:
        found = {"id": project, "task": project, "project": project, "result": list(regions)}
        seen = {"id": project, "project": project, "data": {}}
        about = {"id": project}
        store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": about})

    return record


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own, on a free loopback port."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *map(Path, filter(None, [shutil.which("initdb")]))]
    if not found:
        pytest.skip("PostgreSQL's initdb isn't installed")
    binaries = found[0].parent
    user = getpass.getuser() if os.getuid() else "nobody"
    directory = Path(tempfile.mkdtemp(prefix="maskloop-pg-"))
    os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(*command: str) -> None:
        subprocess.run(
            [str(binaries / command[0]), *command[1:]],
            check=True,
            capture_output=True,
            cwd=directory,
            user=user if not os.getuid() else None,
            env=os.environ | {"LC_ALL": "C"},
        )

    data = str(directory / "data")
    try:
        run("initdb", "-D", data, "-U", "maskloop", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={directory}"
        run("pg_ctl", "start", "-w", "-D", data, "-l", str(directory / "log"), "-o", options)
        try:
            yield f"postgresql://maskloop@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "stop", "-D", data, "-m", "immediate")
    finally:
        shutil.rmtree(directory)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return database.default_url(tmp_path / "data")
    url: str = request.getfixturevalue("postgresql")
    engine = database.connect(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE; CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def store(url: str, tmp_path: Path) -> FeedbackStore:
    return FeedbackStore.open(tmp_path, url)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> FeedbackStore:
    """Where the database makes no difference."""
    return FeedbackStore.open(tmp_path)


@pytest.fixture
def scans() -> Callable[[Engine], AbstractContextManager[list[str]]]:
    """What an SQLite database reads from end to end, while the context lasts: lines of its query plans."""

    @contextmanager
    def watch(engine: Engine) -> Iterator[list[str]]:
        found: list[str] = []

        def explain(_: object, cursor: Any, statement: str, parameters: Any, *_more: object) -> None:
            if statement.startswith(("SELECT", "UPDATE", "DELETE")):
                plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found.extend(step for *_, step in plan if step.startswith("SCAN"))

        event.listen(engine, "before_cursor_execute", explain)
        yield found
        event.remove(engine, "before_cursor_execute", explain)

    return watch
