"""`maskloop worker`: does the jobs of one queue."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Annotated

import typer

from maskloop.cli.logs import log_to_stderr
from maskloop.cli.options import with_settings
from maskloop.cli.same_data import sharing
from maskloop.dispatch.executor import Service
from maskloop.dispatch.private_redis import redis_of
from maskloop.dispatch.queues import QueueName
from maskloop.dispatch.worker import run_worker
from maskloop.settings import Settings

NICENESS = {QueueName.INTERACTIVE: 0, QueueName.BATCH: 10, QueueName.TRAIN: 19}
"""Every worker may use all cores; a click gets them first."""

Queue = Annotated[QueueName, typer.Option(help="The queue whose jobs to do.")]
SERVER_ONLY = (
    "host",
    "port",
    "basic_auth_user",
    "basic_auth_pass",
    "interactive_workers",
    "batch_workers",
    "train_workers",
    "click_deadline",
    "batch_deadline",
    "max_waiting_clicks",
    "max_waiting_tasks",
)


def work(settings: Settings, queue: Queue) -> None:
    """Do the jobs of one queue until it is told to stop (SIGTERM, Ctrl-C); the job under way is finished first."""
    log_to_stderr(settings.log_level)
    os.nice(NICENESS[queue])
    redis = redis_of(settings)

    def build() -> Service:
        stack.enter_context(sharing(redis, settings.data_dir))
        from maskloop.cli.wiring import build_service  # imports torch: others see this worker starting meanwhile

        return build_service(queue, settings)

    with ExitStack() as stack:
        run_worker(redis, queue, build)


command = with_settings(work, without=SERVER_ONLY)
