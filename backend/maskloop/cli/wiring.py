"""The composition root: builds what workers and commands need from the settings."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from maskloop.annotate import work as annotating
from maskloop.cli.models import open_registry
from maskloop.cli.versions import name_of, version_of
from maskloop.dispatch.context import JobContext
from maskloop.dispatch.executor import Handler, Service
from maskloop.dispatch.queues import QueueName, connect
from maskloop.engines.base import Engine
from maskloop.engines.choose import choose_engine
from maskloop.engines.network_engine import NetworkEngine
from maskloop.engines.runtime import available_threads
from maskloop.errors import MaskloopError
from maskloop.images import ImageLoader, ImagePolicy
from maskloop.inference import Segmenter, open_segmenter
from maskloop.labelstudio import ahead, batch, handlers, proposing, service
from maskloop.labelstudio.connect import redis_url
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.rehearsal import rehearsal
from maskloop.labelstudio.scores import as_chances
from maskloop.learning import jobs, orders
from maskloop.learning.calibration import Chances
from maskloop.learning.general import general_set
from maskloop.learning.naming import Namer
from maskloop.learning.recognition import Recognition
from maskloop.learning.registry import Registry
from maskloop.learning.store import MadePrediction, open_store
from maskloop.learning.training import TrainingSettings
from maskloop.settings import Settings

MODELS_KEPT = 3
"""Versions that a worker holds: the one in service, a challenger, and the one before for jobs still under way."""

Json = dict[str, Any]

log = logging.getLogger("maskloop.worker")


def make_engine(model: str | None, engine: str | None) -> Engine:
    """For a command: a model version (None: the one in service) on an engine (None: the setting's)."""
    settings = Settings() if engine is None else Settings(engine=engine)
    registry = open_registry(settings)
    return open_engine(settings, registry, model or registry.in_service())


def open_segmenters(settings: Settings) -> Callable[[str], Segmenter]:
    """For a command that needs several versions: gives one by its name."""
    return Models(settings).named


def make_annotator(settings: Settings) -> annotating.Worker:
    """For a process that annotates photos."""
    registry = open_registry(settings)
    name = registry.in_service()
    engine = open_engine(settings, registry, name)
    return annotator(settings, engine, version_of(name), registry.chances(name), Recognition(settings))


def open_engine(settings: Settings, registry: Registry, name: str, like: NetworkEngine | None = None) -> NetworkEngine:
    threads = settings.threads or available_threads()
    cv2.setNumThreads(threads)
    prepared = settings.data_dir / "cache" / "engines"
    with alone_in(prepared):
        return choose_engine(registry.weights(name), settings.engine, threads=threads, cache_dir=prepared, like=like)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """The first process prepares the network for this machine; those that wait for it find that done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def annotator(
    settings: Settings, engine: Engine, version: str, chances: Chances, recognition: Recognition
) -> annotating.Worker:
    limits = settings.max_image_bytes, settings.max_image_pixels
    return annotating.Worker(engine, *limits, version, chances, recognition.called)


class Models:
    """Segmenters by the version that a job names: each job is done by one version, whatever is promoted meanwhile.

    Versions share what encodes: a worker does one job at a time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = open_registry(settings)
        self._kept: OrderedDict[str, tuple[NetworkEngine, Segmenter]] = OrderedDict()
        self._lock = threading.Lock()

    def in_service(self) -> tuple[Engine, str]:
        """It, and its version."""
        version = version_of(self._registry.in_service())
        return self._of(version)[0], version

    def of(self, version: str) -> Segmenter:
        """Loads the version if need be. Raises UnknownVersion or WeightsError."""
        return self._of(version)[1]

    def named(self, name: str) -> Segmenter:
        """By its name in the registry; raises the same."""
        return self.of(version_of(name))

    def _of(self, version: str) -> tuple[NetworkEngine, Segmenter]:
        with self._lock:
            if version not in self._kept:
                name = name_of(version)
                like = next((engine for engine, _ in reversed(self._kept.values())), None)
                engine = open_engine(self._settings, self._registry, name, like)
                model = f"{version}-{self._registry.get(name).sha256}"
                self._kept[version] = engine, open_segmenter(engine, self._settings, model=model)
            self._kept.move_to_end(version)
            if len(self._kept) > MODELS_KEPT:
                self._kept.popitem(last=False)[1][1].close()
            return self._kept[version]

    def chances(self, version: str, project: int | None = None) -> Chances:
        """What its scores are worth; asked for each job, because reviews go on. Raises UnknownVersion."""
        return self._registry.chances(name_of(version), project)

    def report(self) -> Json:
        """The version used last, and what runs it."""
        with self._lock:
            for version, (engine, _) in reversed(self._kept.items()):
                return {"version": version, "engine": engine.name, "engine_note": engine.note}
        return {}


def build_service(queue: QueueName, settings: Settings) -> Service:
    """What a worker of ``queue`` does. The model in service is loaded first, but for training, which is rare."""
    models = Models(settings)
    if queue is not QueueName.TRAIN:
        models.in_service()
    return Service(HANDLERS[queue](settings, models), models.report)


def click_handlers(settings: Settings, models: Models) -> dict[str, Handler]:
    recognition = Recognition(settings)

    def click(payload: Json) -> Json:
        classify = recognition.of_project(payload["project"])
        made = handlers.click(models.of(payload["version"]), payload, classify=classify)
        return as_chances(made, models.chances(payload["version"], payload["project"]).prompted)

    rehearse(lambda: click(rehearsal(models.in_service()[1])))
    return {service.KIND: lambda payload, _: click(payload)}


def rehearse(work: Callable[[], object]) -> None:
    """Somebody's click may fail as well, and then says why to whom it concerns."""
    start = time.perf_counter()
    try:
        work()
    except MaskloopError as error:
        log.warning("The first click won't be as fast as the next: %s", error)
    else:
        log.info("rehearsed ms=%.1f", (time.perf_counter() - start) * 1000)


def batch_handlers(settings: Settings, models: Models) -> dict[str, Handler]:
    ledger, store, recognition = Ledger(connect(redis_url(settings))), open_store(settings), Recognition(settings)
    load = ImageLoader(ImagePolicy.from_settings(settings)).load
    namer = Namer(store, recognition.classifiers, load, recognition.describe)

    def note(work: Json, made: Json) -> None:
        task = work["task"]["id"]
        if task is None:
            return
        noted = MadePrediction(task, work["project"], made["model_version"], made["score"], made["result"])
        try:
            store.record_predictions([noted])
        except MaskloopError as error:
            log.warning("The prediction of task %s isn't noted: %s", task, error)

    def task(payload: Json, context: JobContext) -> None:
        version, project = payload["work"]["version"], payload["work"]["project"]

        def score(made: Json) -> Json:
            return as_chances(made, models.chances(version, project).automatic)

        classify = recognition.of_project(project)
        batch.handler(models.of(version), ledger, classify=classify, score=score, note=note)(payload, context)

    def annotate(payload: Json, _: JobContext) -> list[Json]:
        engine, version = models.in_service()
        return annotator(settings, engine, version, models.chances(version), recognition)(payload)

    return {
        batch.KIND: task,
        ahead.KIND: ahead.handler(models.of),
        proposing.KIND: proposing.handler(models.of),
        orders.CLASSES: lambda payload, _: namer(payload),
        annotating.KIND: annotate,
    }


def train_handlers(settings: Settings, models: Models) -> dict[str, Handler]:
    threads = settings.threads or available_threads()
    loader = ImageLoader(ImagePolicy.from_settings(settings))

    store, registry = open_store(settings), open_registry(settings)
    how = TrainingSettings(adapter_rank=settings.train_adapters)
    return {orders.KIND: jobs.Trainer(store, registry, loader.load, models.named, how, general_set(), threads)}


HANDLERS: dict[QueueName, Callable[[Settings, Models], dict[str, Handler]]] = {
    QueueName.INTERACTIVE: click_handlers,
    QueueName.BATCH: batch_handlers,
    QueueName.TRAIN: train_handlers,
}
