"""Clicks as Label Studio sends them, against a ``maskloop serve`` that was started for the purpose."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import HttpUrl, SecretStr

from maskloop.errors import MaskloopError
from maskloop.settings import Settings

LABEL_CONFIG = """<View>
  <BrushLabels name="brush" toName="image"><Label value="Object"/></BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="Object"/></KeyPointLabels>
  <Image name="image" value="$image"/>
</View>"""
OTHERS = 400
"""Number of the first place where one of many users clicks."""
START_LIMIT = 120.0
"""Seconds in which a server must be ready, its model loaded."""
STOP_LIMIT = 30.0
"""Seconds in which it must have ended before it is killed."""


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves uploads as Label Studio does, at ``/data/upload/1/NAME``."""

    def translate_path(self, path: str) -> str:
        return str(Path(self.directory) / Path(path).name)

    def log_message(self, format: str, *arguments: object) -> None: ...


@contextmanager
def uploads(folder: Path) -> Iterator[str]:
    """A host that hands out the files of ``folder`` as a Label Studio hands out uploads; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietFiles, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


@contextmanager
def serving(label_studio: str, data_dir: Path, *, workers: int = 1) -> Iterator[Clicker]:
    """``maskloop serve`` as a process, ready to answer; stopped at the end."""
    port = free_port()
    settings = Settings(
        port=port,
        data_dir=data_dir,
        label_studio_url=HttpUrl(label_studio),
        label_studio_api_key=SecretStr("0" * 40),
        interactive_workers=workers,
        clicks_at_once=0 if workers == 1 else 1,  # so that workers take turns
        batch_workers=0,
        train_workers=0,
        engine="auto",
        log_level="warning",
    )
    environment = {**os.environ, **settings.environment()}
    log = data_dir / "bench-serve.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "maskloop.cli.main", "serve"], env=environment, stdout=output, stderr=output
        )
        try:
            yield Clicker(f"http://127.0.0.1:{port}", process, log, workers)
        finally:
            process.terminate()
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Clicker:
    """Sends clicks and times them. ``start_ms``: from the process's start until it answered its first health check
    with all of its workers ready."""

    def __init__(self, url: str, process: subprocess.Popen[bytes], log: Path, workers: int) -> None:
        self._process = psutil.Process(process.pid)
        self._client = httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_connections=64))
        start = time.perf_counter()
        while not self._ready(workers):
            if process.poll() is not None or time.perf_counter() - start > START_LIMIT:
                raise MaskloopError("`maskloop serve` didn't come up.", f"Its log: {log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.start_ms = (time.perf_counter() - start) * 1000

    def _ready(self, workers: int) -> bool:
        try:
            health = self._client.get("/health").json()
        except (httpx.TransportError, ValueError):
            return False
        return bool(health["workers"]["interactive"]["ready"] >= workers)

    def processes(self) -> list[psutil.Process]:
        """The server and all that it started."""
        return [self._process, *self._process.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        return [process for process in self.processes() if "worker" in process.cmdline()]

    def click(self, photo: str, x: float, y: float, task: int = 1) -> float:
        """Milliseconds from the request to the parsed answer; x and y in percent. Raises MaskloopError without mask."""
        start = time.perf_counter()
        answer = self._client.post("/predict", json=request(photo, x, y, task))
        result = answer.json()
        took = (time.perf_counter() - start) * 1000
        if answer.status_code != 200 or not result["results"][0]["result"]:
            raise MaskloopError(f"The click was answered {answer.status_code}: {answer.text[:300]}")
        return took

    def by_users(self, photos: Sequence[str], users: int, clicks: int) -> list[float]:
        """Milliseconds of each click when so many users click at once, each on a task of their own."""

        def user(number: int) -> list[float]:
            photo = photos[number % len(photos)]
            first = OTHERS + number * clicks
            return [self.click(photo, *spot(index), task=number) for index in range(first, first + clicks)]

        with ThreadPoolExecutor(users) as pool:
            return [took for run in pool.map(user, range(users)) for took in run]


def spot(index: int) -> tuple[float, float]:
    """A place in the image, in percent; each index below 1763 another: the same click again isn't decoded again."""
    return 30 + index * 7 % 41, 30 + index * 11 % 43


def request(photo: str, x: float, y: float, task: int) -> dict[str, Any]:
    point = {
        "id": f"click-{task}",
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "is_positive": True,
        "original_width": 512,
        "original_height": 512,
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Object"]},
    }
    return {
        "tasks": [{"id": task, "project": 1, "data": {"image": f"/data/upload/1/{photo}"}}],
        "project": "1.1",
        "label_config": LABEL_CONFIG,
        "params": {"context": {"result": [point]}},
    }
