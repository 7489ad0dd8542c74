"""The composition root: builds what workers and commands need from the settings."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from maskloop.annotate import work as annotating
from maskloop.annotate.pools import Do
from maskloop.cli.loading import Models, open_engine
from maskloop.cli.options import load_to_write
from maskloop.dispatch.context import Interrupted, JobContext
from maskloop.dispatch.executor import Handler, Service, unexpected
from maskloop.dispatch.jobs import Cancelled
from maskloop.dispatch.private_redis import redis_of
from maskloop.dispatch.queues import QueueName
from maskloop.engines.base import Engine
from maskloop.engines.runtime import available_threads, gpu_is_lost
from maskloop.errors import MaskloopError, Unavailable
from maskloop.images import ImageLoader, ImagePolicy
from maskloop.inference import Segmenter
from maskloop.labelstudio import ahead, batch, handlers, proposing, service
from maskloop.labelstudio.ledger import Ledger
from maskloop.labelstudio.notes import note
from maskloop.labelstudio.rehearsal import rehearsal
from maskloop.labelstudio.scores import as_chances
from maskloop.learning import jobs, orders
from maskloop.learning.general import general_set
from maskloop.learning.naming import Namer
from maskloop.learning.recognition import Recognition
from maskloop.learning.store import open_store
from maskloop.learning.training import device_for
from maskloop.learning.training_settings import TrainingSettings
from maskloop.learning.versions import registry_of
from maskloop.settings import Settings

Json = dict[str, Any]

log = logging.getLogger("maskloop.worker")


def make_engine(model: str | None, engine: str | None) -> Engine:
    """For a command: a model version (None: the one in service) on an engine (None: the setting's)."""
    settings = load_to_write(None if engine is None else {"engine": engine})
    registry = registry_of(settings)
    return open_engine(settings, registry, model or registry.in_service())


def open_segmenters(settings: Settings) -> Callable[[str], Segmenter]:
    """For a command that needs several versions: gives one by its name."""
    return Models(settings).named


def make_annotator(settings: Settings) -> Do:
    """For a process that annotates photos."""
    return annotator(settings, Models(settings), Recognition(settings))


def annotator(settings: Settings, models: Models, recognition: Recognition) -> Do:
    limits = settings.max_image_bytes, settings.max_image_pixels

    def annotate(payload: Json) -> list[Json]:
        engine, version = models.engine(payload["model"])
        return annotating.Worker(engine, *limits, version, models.chances(version), recognition.called)(payload)

    return annotate


def build_service(queue: QueueName, settings: Settings) -> Service:
    """What a worker of ``queue`` does. The model in service is loaded first, but for training, which is rare."""
    models, at_once = Models(settings), 1
    if queue is not QueueName.TRAIN:
        engine, _ = models.engine()
        threading.Thread(target=models.keep_up, args=[threading.Event()], name="models", daemon=True).start()
        if queue is QueueName.INTERACTIVE:
            at_once = settings.clicks_at_once or engine.clicks_at_once
    return Service(HANDLERS[queue](settings, models), models.report, gpu_is_lost, at_once)


def click_handlers(settings: Settings, models: Models) -> dict[str, Handler]:
    recognition = Recognition(settings)

    def click(payload: Json) -> Json:
        classify = recognition.of_project(payload["project"])
        made = handlers.click(models.of(payload["version"]), payload, classify=classify)
        return as_chances(made, models.chances(payload["version"], payload["project"]).prompted)

    rehearse(lambda: click(rehearsal(models.engine()[1])))
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
    ledger, store, recognition = Ledger(redis_of(settings)), open_store(settings), Recognition(settings)
    load = ImageLoader(ImagePolicy.from_settings(settings)).load
    noted = partial(note, store)
    namer = Namer(store, recognition.classifiers, load, recognition.describe)

    def task(payload: Json, context: JobContext) -> None:
        version, project = payload["work"]["version"], payload["work"]["project"]

        def score(made: Json) -> Json:
            return as_chances(made, models.chances(version, project).automatic)

        classify = recognition.of_project(project)
        batch.handler(models.of(version), ledger, classify=classify, score=score, note=noted)(payload, context)

    annotate = annotator(settings, models, recognition)

    return {
        batch.KIND: task,
        ahead.KIND: ahead.handler(models.of),
        proposing.KIND: proposing.handler(models.of),
        orders.CLASSES: lambda payload, _: namer(payload),
        annotating.KIND: lambda payload, _: annotate(payload),
    }


def train_handlers(settings: Settings, models: Models) -> dict[str, Handler]:
    threads = settings.threads or available_threads()
    loader = ImageLoader(ImagePolicy.from_settings(settings))

    store, registry = open_store(settings), registry_of(settings)
    how = TrainingSettings(adapter_rank=settings.train_adapters)
    device = device_for(settings.engine)
    trainer = jobs.Trainer(store, registry, loader.load, models.named, how, general_set(), threads, device)
    ledger = Ledger(redis_of(settings))

    def train(payload: Json, context: JobContext) -> Json:
        try:
            return trainer(payload, context)
        except (Unavailable, Interrupted, Cancelled):
            raise  # it goes on later, or isn't wanted
        except Exception as error:
            known = error if isinstance(error, MaskloopError) else unexpected(error, context.job_id)
            ledger.note_failure(int(payload["project"]), None, f"Training: {known}")
            raise

    return {orders.KIND: train}


HANDLERS: dict[QueueName, Callable[[Settings, Models], dict[str, Handler]]] = {
    QueueName.INTERACTIVE: click_handlers,
    QueueName.BATCH: batch_handlers,
    QueueName.TRAIN: train_handlers,
}
