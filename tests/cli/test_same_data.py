"""Those who use one Redis share one data directory."""

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from maskloop.cli.same_data import KEY, LEASE, sharing
from maskloop.errors import QueueUnavailable


def refused(redis: Redis, data_dir: Path) -> bool:
    try:
        with sharing(redis, data_dir):
            return False
    except QueueUnavailable:
        return True


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return tmp_path / "one"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other"


def test_another_directory_is_refused_as_long_as_one_is_in_use(redis: Redis, one: Path, other: Path) -> None:
    with sharing(redis, one), sharing(redis, one):
        assert refused(redis, other)
    assert not refused(redis, other)


def test_who_leaves_takes_it_from_nobody(
    redis: Redis, one: Path, other: Path, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("maskloop.cli.same_data.RENEWAL", 0.01)
    with sharing(redis, one):
        assert not refused(redis, one)
        until(lambda: redis.exists(KEY))
        assert refused(redis, other)


def test_who_was_killed_may_start_at_once_and_another_before_long(redis: Redis, one: Path, other: Path) -> None:
    with sharing(redis, one):
        held = redis.get(KEY)
    assert held
    redis.set(KEY, held, ex=LEASE)
    assert refused(redis, other)
    assert not refused(redis, one)
    redis.set(KEY, held, px=1)
    while redis.exists(KEY):
        pass
    assert not refused(redis, other)
