"""What tests of several rooms share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import skimage
from hypothesis import settings as hypothesis_settings
from PIL import Image as PillowImage
from redis import Redis

from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.maintenance import declare_dead
from maskloop.dispatch.overview import overview
from maskloop.dispatch.private_redis import PrivateRedis
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.supervisor import Child, Supervisor
from maskloop.engines.runtime import share_cores
from maskloop.errors import WeightsError
from maskloop.sam.values import Image
from maskloop.settings import Settings
from maskloop.weights import verified_path

share_cores()
hypothesis_settings.register_profile("maskloop", deadline=None)  # a busy machine is no failure
hypothesis_settings.load_profile("maskloop")


REQUIRE_ALL = os.environ.get("MASKLOOP_TEST_REQUIRE_ALL") == "1"
"""As in CI: what is skipped because something isn't installed fails. The mark `skipif` is for what doesn't apply."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """For pytest-xdist: a file's tests share what it prepared, and those with Label Studio, the longest, share one."""
    items.sort(key=lambda item: item.path.parent.name != "e2e")
    for item in items:
        group = "label-studio" if item.path.parent.name == "e2e" else item.path.name
        item.add_marker(pytest.mark.xdist_group(f"{item.path.parent.name}/{group}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRE_ALL and report.skipped and not item.get_closest_marker("skipif"):
        report.outcome = "failed"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if REQUIRE_ALL and report.skipped:
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def official_weights() -> Path:
    """The verified official weights; the test wants the mark `weights`."""
    try:
        return verified_path(Settings().weights_dir)
    except WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def photo() -> Callable[[str], Image]:
    """A photo that scikit-image carries, by its file's name; uint8 (H, W, 3)."""
    return lambda name: np.asarray(PillowImage.open(Path(skimage.__file__).parent / "data" / name).convert("RGB"))


def wait_until(holds: Callable[[], object], timeout: float = 20.0) -> None:
    end, pause = time.monotonic() + timeout, 0.01
    while not holds():
        assert time.monotonic() < end, "It didn't come true in time."
        time.sleep(pause)
        pause = min(pause * 1.1, 0.2)  # what takes long may want the core


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """``until(holds, timeout=20.0)`` returns as soon as ``holds()`` does."""
    return wait_until


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis."""
    with PrivateRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture
def redis(redis_server: str) -> Iterator[Redis]:
    """An empty, real Redis; a blocking command of this client may take its time."""
    client: Redis = Redis.from_url(redis_server, socket_timeout=None)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def dispatcher(redis: Redis, redis_server: str) -> Dispatcher:
    return Dispatcher(connect(redis_server), {QueueName.INTERACTIVE: 8})


@pytest.fixture(scope="session")
def worker_script() -> Path:
    """Runs a worker whose handlers do what tests need: ``worker_process.py REDIS_URL QUEUE [BUILD]``."""
    return Path(__file__).parent / "dispatch" / "worker_process.py"


@pytest.fixture
def start_workers(redis: Redis, redis_server: str, worker_script: Path) -> Iterator[Callable[..., Supervisor]]:
    """Starts ``count`` supervised worker processes, by default one for clicks, and waits until they are there."""
    with ExitStack() as stack:

        def start(
            count: int = 1, queue: QueueName = QueueName.INTERACTIVE, build: str = "quick", *, wait: bool = True
        ) -> Supervisor:
            command = [sys.executable, str(worker_script), redis_server, queue, build]
            children = [Child(f"{queue}-{number}", command) for number in range(count)]
            supervisor = stack.enter_context(
                Supervisor(children, grace=5, on_death=lambda pid: declare_dead(redis, pid))
            )
            threads = 3 if build == "three at once" else 1
            if wait:
                wait_until(
                    lambda: sum(one.state == "idle" for one in overview(redis)[queue].workers) >= threads * count
                )
            return supervisor

        yield start


class Web:
    """A web server of one's own, to be asked over real connections.

    ``routes``: what to do for a path (without its query). ``seen``: the requests that came, with their headers.
    """

    def __init__(self) -> None:
        self.routes: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.connections = 0
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                web.connections += 1

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                web.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
                route = web.routes.get(self.path.partition("?")[0])
                if route is None:
                    answer(self, 404)
                else:
                    route(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> httpx.URL:
        return httpx.URL(f"http://{self.host}")

    def gives(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.routes[path] = lambda request: answer(request, status, body, named)

    def redirects(self, path: str, to: str) -> None:
        self.routes[path] = lambda request: answer(request, 303, headers={"Location": to})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def answer(
    request: BaseHTTPRequestHandler, status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.fixture
def other_web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


class Serving:
    """A running ``maskloop serve``."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, url: str) -> None:
        self.process = process
        self.log = log
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=100)

    def health(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self.client.get("/health", timeout=5).json()
        except httpx.TransportError:
            return {}
        return answer

    def is_ready(self) -> bool:
        """Once every queue that is to have workers has one that holds the model."""
        assert self.process.poll() is None, self.log.read_text()
        queues = self.health().get("workers", {}).values()
        return any(queue["ready"] for queue in queues) and not any(queue["starting"] for queue in queues)


@pytest.fixture(scope="session")
def share_engines(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """``share_engines(data)``: what the first start prepares for this machine is found in that data directory too."""
    prepared = tmp_path_factory.mktemp("engines")

    def share(data: Path) -> None:
        (data / "cache").mkdir(parents=True)
        (data / "cache" / "engines").symlink_to(prepared)

    return share


@pytest.fixture
def maskloop_serve(
    tmp_path: Path, share_engines: Callable[[Path], None], until: Callable[..., None]
) -> Iterator[Callable[..., Serving]]:
    """``maskloop_serve("--flag", ..., engine="torch-cpu")`` starts it, with the settings as variables, and waits."""
    started: list[subprocess.Popen[bytes]] = []
    share_engines(tmp_path / "data")

    def start(*flags: str, wait: bool = True, **settings: str) -> Serving:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        chosen = {"port": str(port), "data_dir": str(tmp_path / "data"), "engine": "torch-cpu", "train_workers": "0"}
        chosen |= {"click_deadline": "60", "threads": "1"}  # a busy machine is no failure
        variables = {f"MASKLOOP_{name.upper()}": value for name, value in (chosen | settings).items()}
        log = tmp_path / f"serve-{len(started)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "maskloop.cli.main", "serve", *flags],
                env={**os.environ, **variables},
                stdout=output,
                stderr=output,
            )
        started.append(process)
        serving = Serving(process, log, f"http://127.0.0.1:{port}")
        if wait:
            until(serving.is_ready, timeout=200)
        return serving

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


@pytest.fixture(scope="session")
def square() -> Callable[..., str]:
    """``square(left=60, top=50)`` is a photo of 300 x 200 pixels with one bright square in it, as a data URI."""

    def draw(left: int = 60, top: int = 50, side: int = 60) -> str:
        pixels = np.random.default_rng(0).integers(0, 40, (200, 300, 3), np.uint8)
        pixels[top : top + side, left : left + side] += np.uint8(200)
        png = BytesIO()
        PillowImage.fromarray(pixels).save(png, "PNG")
        return f"data:image/png;base64,{b64encode(png.getvalue()).decode()}"

    return draw
