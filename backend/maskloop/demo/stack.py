"""Label Studio, maskloop and a project that joins them, up while a ``with`` block runs."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from maskloop.demo.checkout import Checkout, DemoError
from maskloop.demo.child import Child, free_port, running
from maskloop.demo.environment import install_label_studio
from maskloop.demo.label_studio import JSON, LabelStudio, label_studio_running
from maskloop.demo.photos import photos
from maskloop.demo.steps import Steps
from maskloop.dispatch.private_redis import find_server
from maskloop.learning.store import FeedbackStore, open_store
from maskloop.settings import Settings

EMAIL = "demo@example.com"
FOR_CLICKS = 2
"""Photos that are not pre-annotated."""
EXTRA_PARAMS = {"automatic": {"points_per_side": 16}}
"""A quarter of the official grid's points, so that the photos are ready soon."""
SERVE_TIMEOUT = 300.0
"""The first start converts the model: 10 s on two idle cores, minutes on busy ones."""
STALL_TIMEOUT = 180.0
"""Pre-annotation is given up when no task gets ready for so long, seconds."""


@dataclass(frozen=True)
class Stack:
    """What runs. ``connection``: Label Studio's number for the backend. ``feedback``: what maskloop has heard."""

    label_studio: LabelStudio
    password: str
    backend: str
    project: int
    connection: int
    version: str
    feedback: FeedbackStore
    children: tuple[Child, ...]

    def raise_if_ended(self) -> None:
        """Raises DemoError if Label Studio or maskloop has ended by itself."""
        for child in self.children:
            if child.process.poll() is not None:
                raise DemoError(f"{child.name} ended by itself:\n{child.last_lines()}", f"Its log: {child.log}")


@contextlib.contextmanager
def stack_running(
    checkout: Checkout, data: Path, steps: Steps, *, title: str, fresh: bool, ports: tuple[int, int]
) -> Iterator[Stack]:
    """Install what is missing, start everything, and pre-annotate the photos of project ``title``.

    data: what is kept between runs; one run at a time may use it.
    fresh: begin with a new project in place of one of the same title.
    ports: preferred ports of Label Studio and of maskloop; 0 for any.
    """
    with contextlib.ExitStack() as up:
        up.enter_context(_only_user_of(data))
        if Settings().redis_url is None:
            find_server()  # before anything is installed for nothing
        with steps.step("Label Studio installed") as show:
            command = install_label_studio(checkout.label_studio_environment, checkout.label_studio_lock, show)
            show(f"in {checkout.label_studio_environment.name}")
        with steps.step("Label Studio started") as show:
            show("the first start takes about a minute")
            port, password = _port("Label Studio", ports[0], steps), _password(data)
            label_studio_child, url = up.enter_context(
                label_studio_running(command, data / "label-studio", port, email=EMAIL, password=password)
            )
            label_studio = up.enter_context(LabelStudio(url, EMAIL, password))
            show(url)
        with steps.step("maskloop started") as show:
            port = _port("maskloop", ports[1], steps)
            maskloop_child, backend = up.enter_context(
                maskloop_running(data / "maskloop", port, label_studio=url, token=label_studio.new_token())
            )
            show(backend)
        with steps.step("Project with photos") as show:
            project = _project(label_studio, title, checkout.label_config.read_text(), fresh=fresh)
            show(f"{url}/projects/{project}")
        with steps.step("maskloop connected") as show:
            connection = label_studio.connect(project, backend, EXTRA_PARAMS)
            version = str(connection["model_version"])
            show(f"version {version}")
        with steps.step("Photos pre-annotated") as show:
            label_studio.retrieve_predictions(project, _ids(_to_pre_annotate(label_studio.tasks(project))))
            for ready, total, regions in _ready_tasks(label_studio, project, version):
                show(f"{ready} of {total}, {regions} regions")
            label_studio.show_version(project, version)
        children = (label_studio_child, maskloop_child)
        feedback = open_store(Settings(data_dir=data / "maskloop"))
        yield Stack(label_studio, password, backend, project, int(connection["id"]), version, feedback, children)


@contextlib.contextmanager
def maskloop_running(
    data: Path, port: int, *, label_studio: str, token: str, **more: Any
) -> Iterator[tuple[Child, str]]:
    """Run ``maskloop serve`` on loopback until its workers are ready; yield the child and its address.

    more: further settings, by their names in :class:`Settings`.
    """
    given = {"port": port, "data_dir": data, "label_studio_url": label_studio, "label_studio_api_key": token}
    wanted = Settings(**{"host": "127.0.0.1", **given, **more})
    workers = {
        "interactive": wanted.interactive_workers,
        "batch": wanted.batch_workers,
        "train": wanted.train_workers,
    }

    def ready(health: httpx.Response) -> bool:
        seen = health.json()["workers"]
        return all(seen[queue]["ready"] >= count for queue, count in workers.items() if count)

    command = [str(Path(sys.executable).with_name("maskloop")), "serve"]
    with running("maskloop", command, data / "maskloop.log", wanted.environment()) as child:
        url = f"http://127.0.0.1:{port}"
        child.wait_until_ready(f"{url}/health", SERVE_TIMEOUT, ready)
        yield child, url


@contextlib.contextmanager
def _only_user_of(data: Path) -> Iterator[None]:
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"Another run uses {data}.", "Stop that one first (Ctrl-C).") from None
        yield


def _password(data: Path) -> str:
    """Made once for a data folder, readable by its owner only."""
    file = data / "password"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(9))
    return file.read_text()


def _port(name: str, preferred: int, steps: Steps) -> int:
    port = free_port(preferred)
    if preferred and port != preferred:
        steps.say(f"      Port {preferred} is taken: {name} uses {port}.")
    return port


def _project(label_studio: LabelStudio, title: str, label_config: str, *, fresh: bool) -> int:
    existing = [int(project["id"]) for project in label_studio.projects() if project["title"] == title]
    if fresh:
        for project in existing:
            label_studio.delete_project(project)
        existing.clear()
    project = existing[0] if existing else label_studio.create_project(title, label_config)
    if not label_studio.tasks(project):
        label_studio.upload(project, [(photo.name, photo.read_bytes()) for photo in photos()])
    return project


def _to_pre_annotate(tasks: Sequence[JSON]) -> list[JSON]:
    """The first are left for a person's clicks: Label Studio begins an annotation with what is predicted."""
    return list(tasks[FOR_CLICKS:])


def _ids(tasks: Sequence[JSON]) -> list[int]:
    return [int(task["id"]) for task in tasks]


def _ready_tasks(label_studio: LabelStudio, project: int, version: str) -> Iterator[tuple[int, int, int]]:
    """(tasks with a prediction of ``version``, all tasks, regions in them), until no task is left to do."""
    done, last_progress = -1, time.monotonic()
    while True:
        tasks = _to_pre_annotate(label_studio.tasks(project))
        ready = [predictions for task in tasks if (predictions := _of_version(task, version))]
        yield len(ready), len(tasks), sum(len(prediction["result"]) for found in ready for prediction in found)
        if len(ready) == len(tasks):
            return
        if len(ready) > done:
            done, last_progress = len(ready), time.monotonic()
        elif time.monotonic() > last_progress + STALL_TIMEOUT:
            told = {one["model_version"] for task in tasks for one in task["predictions"]} - {version}
            raise DemoError(f"{len(tasks) - len(ready)} of {len(tasks)} photos got no masks.", "; ".join(sorted(told)))
        time.sleep(1)


def _of_version(task: JSON, version: str) -> list[JSON]:
    return [prediction for prediction in task["predictions"] if prediction["model_version"] == version]
