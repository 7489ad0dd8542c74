"""`maskloop serve`: the HTTP server, its workers, and a Redis if none is named."""

from __future__ import annotations

import logging
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version as installed_version
from math import ceil
from types import FrameType

import typer
import uvicorn

from maskloop.background import Task, running
from maskloop.cli.logs import log_to_stderr
from maskloop.cli.options import with_settings
from maskloop.cli.same_data import sharing
from maskloop.cli.schedule import local_time, times
from maskloop.dispatch.maintenance import declare_dead
from maskloop.dispatch.overview import READY, QueueState, overview
from maskloop.dispatch.private_redis import PrivateRedis, private_directory
from maskloop.dispatch.queues import QueueName, check, connect
from maskloop.dispatch.supervisor import Child, Supervisor
from maskloop.engines.runtime import available_threads
from maskloop.errors import BadRequest, LabelStudioError, MaskloopError
from maskloop.labelstudio.connect import api_of, connect_backend, versions_of
from maskloop.learning.database import default_file
from maskloop.learning.store import open_store
from maskloop.learning.versions import Answering, in_words
from maskloop.server.app import create_app
from maskloop.server.auth import Guard
from maskloop.server.webhooks import Webhooks
from maskloop.settings import Settings
from maskloop.weights import verified_path

MASKLOOP = [sys.executable, "-m", "maskloop.cli.main"]
GRACE = 15
"""Seconds that jobs under way may take to end."""
MARGIN = 5
"""Seconds that requests under way may take to end, beyond a click's deadline."""
KEEP_ALIVE = 75
"""Seconds that an idle connection of Label Studio's is kept."""
PATIENCE = 30.0
"""Seconds after which it is said that the workers are still loading the model."""
FILES = 1 << 16
"""Open at once, at most."""
NO_LABEL_STUDIO = (
    "not set: uploads can't be read, and late predictions not delivered (MASKLOOP_LABEL_STUDIO_URL, _API_KEY)"
)

log = logging.getLogger("maskloop.serve")


def serve(settings: Settings) -> None:
    """Answer Label Studio until told to stop (SIGTERM, Ctrl-C)."""
    log_to_stderr(settings.log_level)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    allow_many_files()
    workers = workers_wanted(settings)
    if any(workers.values()):
        verified_path(settings.weights_dir)
    if settings.train_schedule:
        times(settings.train_schedule, local_time)
    with ExitStack() as stack:
        listener = stack.enter_context(listening(settings.host, settings.port))
        private = settings.redis_url is None
        if private:
            server = stack.enter_context(PrivateRedis(private_directory(settings.data_dir)))
            settings = settings.model_copy(update={"redis_url": server.url})
        assert settings.redis_url is not None
        redis = connect(settings.redis_url)
        check(redis)
        stack.enter_context(sharing(redis, settings.data_dir))
        stack.enter_context(Supervisor(children(settings, workers), grace=GRACE, on_death=partial(declare_dead, redis)))
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        answering = versions_of(settings).answering
        backend = connect_backend(settings)
        stack.callback(backend.close)
        if (file := default_file(settings.data_dir)).exists() and not open_store(settings).is_in(file):
            log.warning(
                "The feedback in %s isn't used, as another database is named: `maskloop sync --from` takes it over. "
                "Put the file away then, or if it isn't wanted.",
                file,
            )
        background: list[Task] = [partial(_announce, settings, private, answering)]
        guard = Guard.from_settings(settings)
        if webhooks := _webhooks(settings, guard):
            background.append(webhooks.run)
        stack.enter_context(running(background))
        leaving = threading.Event()
        app = create_app(backend, partial(overview, redis), guard, answering, webhooks, leaving)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=ceil(settings.click_deadline) + MARGIN,
            server_header=False,
        )
        _Server(config, leaving).run(sockets=[listener])


def allow_many_files() -> None:
    """Each connection is one, and an idle one is kept: the 1024 that are usual would let few lock out all others. What
    the system would let is beyond reason at some places, and refused at others."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, FILES), most))


class _Server(uvicorn.Server):
    """Sets ``leaving`` before it waits for the requests under way to end."""

    def __init__(self, config: uvicorn.Config, leaving: threading.Event) -> None:
        super().__init__(config)
        self._leaving = leaving

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._leaving.set()
        await super().shutdown(sockets)


command = with_settings(serve)


def _webhooks(settings: Settings, guard: Guard) -> Webhooks | None:
    """None if webhooks need no header, or Label Studio can't be asked to send one."""
    if guard.is_open or not (api := api_of(settings)):
        return None
    return Webhooks(api, guard.webhook_token)


def workers_wanted(settings: Settings) -> dict[QueueName, int]:
    return {
        QueueName.INTERACTIVE: settings.interactive_workers,
        QueueName.BATCH: settings.batch_workers,
        QueueName.TRAIN: settings.train_workers,
    }


def children(settings: Settings, workers: Mapping[QueueName, int]) -> list[Child]:
    """The processes beside the server. Clicks seldom come together, so each of their workers may use all cores; the
    workers of another queue share them. The queues take turns by niceness."""
    found = []
    for queue, count in workers.items():
        cores = available_threads() - (queue is QueueName.TRAIN)  # niceness alone doesn't keep clicks as fast
        share = cores if queue is QueueName.INTERACTIVE else cores // max(1, count)
        threads = settings.threads or max(1, share)
        environment = settings.model_copy(update={"threads": threads}).environment()
        command = [*MASKLOOP, "worker", "--queue", queue.value]
        found += [Child(f"{queue} worker {number}", command, environment) for number in range(1, count + 1)]
    return [*found, Child("housekeeping", [*MASKLOOP, "housekeeping"], settings.environment())]


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Taken before anything is started. Raises BadRequest if it can't be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise BadRequest(
            f"Can't listen on {host}, port {port}: {error.strerror or error}.", "Take another --port, or --host."
        ) from error
    with listener:
        yield listener


def _announce(settings: Settings, private: bool, answering: Callable[[], Answering], stop: threading.Event) -> None:
    """Says where it is and with what, once the workers are ready or it is clear that they won't be."""
    assert settings.redis_url is not None
    redis = connect(settings.redis_url)
    wanted = workers_wanted(settings)
    late = time.monotonic() + PATIENCE
    while not stop.wait(0.2):
        try:
            queues = overview(redis)
        except MaskloopError as error:
            log.warning("%s", error)
            continue
        failures = [str(queue.failure) for queue in queues.values() if queue.failure]
        if failures or all(queues[name].processes(*READY) >= count for name, count in wanted.items()):
            typer.echo(banner(settings, private, answering(), queues, label_studio(settings), failures))
            return
        if time.monotonic() > late:
            log.info("The workers are still loading the model; the first start prepares it for this machine.")
            late += PATIENCE


def label_studio(settings: Settings) -> str:
    """Where it is, and what keeps it from being used."""
    if not (api := api_of(settings)):
        return NO_LABEL_STUDIO
    try:
        api.check()
    except LabelStudioError as error:
        return f"{settings.label_studio_url} can't be used: {error}"
    finally:
        api.close()
    return str(settings.label_studio_url)


def banner(
    settings: Settings,
    private: bool,
    answering: Answering,
    queues: Mapping[QueueName, QueueState],
    labels_at: str,
    failures: Sequence[str],
) -> str:
    reports = [worker.report for queue in queues.values() for worker in queue.workers]
    engines = sorted(
        {f"{report['engine']} {report['engine_note']}".strip() for report in reports if "engine" in report}
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    facts = {
        "Address": f"http://{host}:{settings.port}",
        "Model": in_words(answering),
        "Engine": ", ".join(engines) or "told by the workers as they start",
        "Redis": "private" if private else "the one named",
        "Workers": ", ".join(f"{queue.processes(*READY)} {name}" for name, queue in queues.items()),
        "Label Studio": labels_at,
        "Access": "open to all who reach the address" if Guard.from_settings(settings).is_open else "Basic auth",
    }
    lines = [f"  {name:<14}{fact}" for name, fact in facts.items()]
    problems = [f"  A worker can't start: {failure}" for failure in failures]
    return "\n".join([f"maskloop {installed_version('maskloop')} is ready.", *lines, *problems])


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)
