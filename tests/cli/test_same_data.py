"""Those who use one Redis share one data directory."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis

from maskloop.cli import same_data
from maskloop.cli.same_data import KEY, identity, sharing
from maskloop.errors import QueueUnavailable
from maskloop.labelstudio.troubles import Troubles


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases that end while a test waits."""
    monkeypatch.setattr(same_data, "LEASE", 1.0)
    monkeypatch.setattr(same_data, "RENEWAL", 0.05)
    monkeypatch.setattr(same_data, "LOOK", 0.01)


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return tmp_path / "one"


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other"


def test_another_directory_is_refused_as_long_as_one_is_in_use(redis: Redis, one: Path, other: Path) -> None:
    """Though one of those who use it has ended. Who holds it is told."""
    with sharing(redis, one):
        with sharing(redis, one):
            pass
        assert redis.exists(KEY)
        with pytest.raises(QueueUnavailable) as refused, sharing(redis, other):
            pass
    assert f", {one})" in str(refused.value)


def test_after_the_last_has_ended_another_waits_for_the_lease_and_begins(
    redis: Redis, one: Path, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with sharing(redis, one):
        pass
    with sharing(redis, one):
        assert caplog.text == ""
    with sharing(redis, other):
        assert "waiting" in caplog.text


def test_who_loses_it_meanwhile_says_so(redis: Redis, one: Path, other: Path, until: Callable[..., None]) -> None:
    troubles = Troubles(redis)
    with sharing(redis, one):
        redis.set(KEY, f"{identity(other)} elsewhere, /other", ex=60)
        until(lambda: "Another maskloop uses this Redis" in " ".join(troubles.all().values()))
        redis.delete(KEY)
        until(lambda: not troubles.all())
