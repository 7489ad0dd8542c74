"""New reviews are followed, whoever brought them in, and whatever fails meanwhile."""

from collections.abc import Callable
from pathlib import Path

import pytest

from maskloop.errors import QueueUnavailable
from maskloop.learning.follower import REST, Follower
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore

Review = Callable[..., None]


def test_projects_with_new_reviews_are_followed_whoever_brought_them_in(
    sqlite_store: FeedbackStore, review: Review
) -> None:
    done: list[tuple[str, int]] = []
    steps = [lambda project: done.append(("fit", project)), lambda project: done.append(("train", project))]
    review(sqlite_store, 3)
    sqlite_store.process_pending()
    follower = Follower(sqlite_store, steps, clock=lambda: 0.0)
    follower.round()
    assert sorted(done) == [("fit", 3), ("train", 3)]
    review(sqlite_store, 4)
    sqlite_store.process_pending()
    done.clear()
    follower.round()
    follower.round()
    assert sorted(done) == [("fit", 4), ("train", 4)]


@pytest.mark.parametrize("failure", [QueueUnavailable("No worker."), OSError("No space left on device")])
def test_what_fails_for_a_project_is_done_again_and_does_not_hold_up_the_rest(
    sqlite_store: FeedbackStore, review: Review, failure: Exception
) -> None:
    done: list[int] = []
    down = True

    def submit(project: int) -> None:
        if project == 3 and down:
            raise failure
        done.append(project)

    review(sqlite_store, 3)
    review(sqlite_store, 4)
    follower = Follower(sqlite_store, [submit], clock=lambda: 0.0)
    for _ in range(2):
        with pytest.raises(ExceptionGroup) as raised:
            follower.round()
        assert raised.value.exceptions == (failure,)
    assert done == [4]
    down = False
    follower.round()
    follower.round()
    assert done == [4, 3]


def test_an_event_that_can_not_be_read_is_told_and_does_not_hold_up_the_rest(
    sqlite_store: FeedbackStore, review: Review, tmp_path: Path
) -> None:
    review(sqlite_store, 3)
    (unreadable,) = (tmp_path / "spool").iterdir()
    unreadable.unlink()
    unreadable.mkdir()  # no user can read it, root neither
    review(sqlite_store, 4)
    done: list[int] = []
    with pytest.raises(ExceptionGroup) as raised:
        Follower(sqlite_store, [done.append]).round()
    assert f"1 events can't be read, e.g. {unreadable}: Is a directory" in str(raised.value.exceptions[0])
    assert done == [4]
    assert unreadable.exists()


def test_a_large_project_is_looked_at_less_often_than_a_small_one(sqlite_store: FeedbackStore, review: Review) -> None:
    done: list[int] = []
    now = 0.0

    def look(project: int) -> None:
        nonlocal now
        done.append(project)
        if project == 3:
            now += 1.0
            raise QueueUnavailable("No worker.")

    follower = Follower(sqlite_store, [look], clock=lambda: now)
    review(sqlite_store, 3)
    with pytest.raises(ExceptionGroup):
        follower.round()
    review(sqlite_store, 4)
    with pytest.raises(ExceptionGroup):
        follower.round()
    assert done == [3, 4]
    now = REST
    with pytest.raises(ExceptionGroup):
        follower.round()
    assert done == [3, 4, 3]


def test_a_database_that_is_away_is_told_of_in_the_same_words(
    tmp_path: Path, review: Review, caplog: pytest.LogCaptureFixture
) -> None:
    """However many events wait: who repeats no error doesn't repeat this one."""
    store = FeedbackStore.open(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    follower = Follower(store, [])
    said = set()
    for project in (3, 4):
        review(store, project)
        with pytest.raises(FeedbackUnavailable) as raised:
            follower.round()
        said.add(str(raised.value))
    assert len(said) == 1
    assert not caplog.records
