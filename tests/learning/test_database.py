"""The tables are made by migrations, on SQLite and on PostgreSQL."""

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DBAPIError

from maskloop.learning import database, migrations
from maskloop.learning.database import connect, default_url, migrate, reading, writing
from maskloop.learning.events import PREDICTIONS_MADE, canonical
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.state import _projects_of
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation, Base, Certainty, Event, RegionVerdict


def test_migrations_make_the_tables_that_the_code_expects(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    migrate(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert not differences


MIGRATIONS = {
    "0001_feedback.py": "754f136c8f31",
    "0002_reviewed.py": "012d7f14fcb9",
    "0003_judge_anew.py": "1c1e1ffdf429",
    "0004_judge_apart.py": "74085d23b6f8",
    "0005_ground_truth.py": "3cf2a0c0a096",
    "0006_certainties_of_all.py": "b03746d7ae30",
    "certainties.py": "fd1d83884f81",
}


def test_no_migration_is_written_anew_once_it_may_have_run() -> None:
    """Where it ran it doesn't run again: what it lacked is another one's work."""
    folder = Path(migrations.__file__).parent
    files = [*(folder / "versions").glob("0*.py"), folder / "certainties.py"]
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:12] for file in files} == MIGRATIONS


def test_processes_that_start_together_may_all_migrate(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, [connect(url) for _ in range(4)]))


def test_a_new_file_that_another_process_writes_to_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(tmp_path / "feedback.db", isolation_level=None)
    for statement in ("CREATE TABLE t (x)", "BEGIN IMMEDIATE", "INSERT INTO t VALUES (1)"):
        other.execute(statement)
    waits: list[object] = []

    def wait(state: object) -> float:
        if not waits:
            other.execute("COMMIT")
        waits.append(state)
        return 0.0

    monkeypatch.setattr(database, "PAUSE", wait)
    migrate(connect(default_url(tmp_path)))
    assert waits


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
    with pytest.raises(FeedbackUnavailable, match=r"can't be used: .*[a-z)]\. Events wait"):
        store.tasks_to_review(1)


def test_a_database_of_a_newer_maskloop_is_left_alone(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    with writing(engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(FeedbackUnavailable, match=r"newer maskloop \(revision 9999\)\. Run that one"):
        migrate(engine)


@pytest.mark.parametrize("content", [b"no database" * 1000, None])
def test_a_damaged_file_is_to_be_replaced(sqlite_store: FeedbackStore, tmp_path: Path, content: bytes | None) -> None:
    sqlite_store.process_pending()
    sqlite_store._engine.dispose()
    file = tmp_path / "feedback.db"
    whole = file.read_bytes()
    file.write_bytes(content or whole[:4096] + bytes(len(whole) - 4096))
    with pytest.raises(FeedbackUnavailable, match="move it away and run `maskloop sync`"):
        FeedbackStore.open(tmp_path).process_pending()


def test_who_waits_long_for_another_writer_is_told(postgresql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one goes on: to judge a task of many masks takes minutes in which it asks the database nothing."""
    with writing(connect(postgresql)) as other:
        monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.1)
        with pytest.raises(FeedbackUnavailable, match="lock timeout"), writing(connect(postgresql)):
            pass
        assert other.scalar(text("SHOW idle_in_transaction_session_timeout")) == "0"


EVENT = (
    "INSERT INTO events (identity, source, action, received_at, payload, reason) "
    "VALUES ('x', 'label-studio', 'ANNOTATION_CREATED', '2026-11-21 08:00:00', '', '')"
)
ANNOTATION = (
    "INSERT INTO annotations (id, task_id, event_id, identity, updated_at, received_at, result, skipped, converted, "
    "deleted) VALUES (1, 5, 1, 'x', '2026-11-21 08:00:00', '2026-11-21 08:00:00', :result, false, false, false)"
)
VERDICTS = (
    "INSERT INTO region_verdicts (task_id, annotation_id, region_id, verdict, at, problem) "
    "VALUES (5, 1, 'a', 'added', '2026-11-21 08:00:00', ''), (5, 1, 'b', 'added', '2026-11-21 08:00:00', '')"
)
RESULT = json.dumps(
    [{"id": "a", "type": "polygonlabels", "value": {"points": []}}, {"id": "b", "type": "rectanglelabels"}]
)


@pytest.fixture
def of_before(url: str) -> Engine:
    """A database with a review, as the first version made it."""
    engine = connect(url)
    migrate(engine, "0001")
    with writing(engine) as session:
        session.execute(text(EVENT))
        session.execute(text(ANNOTATION), {"result": RESULT})
        session.execute(text(VERDICTS))
    return engine


def test_what_was_reviewed_before_an_update_can_still_be_learned_from(of_before: Engine) -> None:
    migrate(of_before)
    with reading(of_before) as session:
        assert {row.region_id: row.outline for row in session.scalars(select(RegionVerdict))} == {"a": True, "b": False}
        annotation = session.scalars(select(Annotation)).one()
    assert annotation.heard_at == annotation.received_at


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_an_update_does_not_read_all_verdicts_for_each_annotation(
    of_before: Engine, scans: Callable[[Engine], AbstractContextManager[list[str]]]
) -> None:
    with scans(of_before) as found:
        migrate(of_before)
    assert "SCAN annotations" in found
    assert "SCAN region_verdicts" not in found


def test_a_database_of_which_0004_was_another_migration_gets_its_table(url: str, tmp_path: Path) -> None:
    """It was written anew twice; what was refused meanwhile is looked at again."""
    engine = connect(url)
    migrate(engine, "0005")
    moment = "'2026-11-21 08:00:00'"
    made = canonical({"action": PREDICTIONS_MADE, "predictions": []})
    with writing(engine) as session:
        for statement in (
            "DROP TABLE certainties",
            "INSERT INTO predictions (identity, task_id, model_version, prompts, result, made_at) "
            f"VALUES ('x', 5, 'v1', NULL, :result, {moment})",
            "INSERT INTO events (identity, source, action, received_at, payload, outcome, reason) "
            f"VALUES ('x', 'maskloop', '{PREDICTIONS_MADE}', {moment}, :made, 'refused', 'Programming: certainties'), "
            f"('y', 'maskloop', '{PREDICTIONS_MADE}', {moment}, :made, 'refused', 'something else')",
        ):
            values = {"result": json.dumps([{"predicted_iou": 0.9, "score": 0.3}]), "made": zlib.compress(made)}
            session.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
    store = FeedbackStore.open(tmp_path, url)
    assert [store.process_pending().applied for _ in range(2)] == [1, 0]
    with store.session() as session:
        assert session.execute(select(Certainty.prediction_id, Certainty.predicted_iou)).all() == [(1, 0.9)]
        outcomes = session.execute(select(Event.identity, Event.outcome).order_by(Event.id)).all()
    assert outcomes == [("x", "ignored"), ("y", "refused")]


def test_an_event_about_more_tasks_than_a_statement_may_name_is_recorded(url: str) -> None:
    engine = connect(url)
    migrate(engine)
    with writing(engine) as session:
        session.execute(text(EVENT))
        session.execute(text(ANNOTATION), {"result": RESULT})
        session.execute(text("UPDATE annotations SET project_id = 7"))
        assert _projects_of(session, range(300_000)) == [7]


def test_what_was_judged_by_older_rules_is_judged_anew_once(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine = connect(url)
    migrate(engine, "0002")
    shape = {"type": "polygonlabels", "value": {"points": [[0, 0], [50, 0], [0, 50]], "polygonlabels": ["Dog"]}}
    scored = {"id": "a", "score": 0.3, "predicted_iou": 0.9, "original_width": 100, "original_height": 50}
    result = json.dumps([shape | scored])
    moment = "'2026-11-21 08:00:00'"
    with writing(engine) as session:
        for statement in (
            "INSERT INTO events (identity, source, action, received_at, payload, reason, outcome) "
            f"VALUES ('x', 'label-studio', 'ANNOTATION_CREATED', {moment}, '', '', 'applied')",
            "INSERT INTO annotations (id, task_id, project_id, event_id, identity, updated_at, received_at, result, "
            f"skipped, converted, deleted) VALUES (1, 5, 7, 1, 'x', {moment}, {moment}, :result, false, false, false)",
            "INSERT INTO predictions (identity, task_id, model_version, prompts, result, made_at) "
            f"VALUES ('x', 5, 'v1', NULL, :result, {moment}), ('y', 5, 'v1', '[]', :result, {moment})",
            "INSERT INTO region_verdicts (task_id, annotation_id, region_id, verdict, at, problem) "
            f"VALUES (5, 1, 'a', 'edited', {moment}, '')",
        ):
            session.execute(text(statement), {"result": result} if ":result" in statement else {})
    store = FeedbackStore.open(tmp_path, url)
    assert [store.process_pending().applied for _ in range(2)] == [1, 0]
    with store.session() as session:
        assert [row.verdict for row in session.scalars(select(RegionVerdict))] == ["accepted"]
        assert session.execute(select(Certainty.prediction_id, Certainty.predicted_iou)).all() == [(1, 0.9)]
    assert "1 predictions are read" in caplog.text
    assert store.judged_since(0)[1] == {7}
