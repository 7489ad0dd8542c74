"""The proposals of an image that somebody clicks on to pick from them, made in the background."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from maskloop.dispatch.context import JobContext
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.queues import QueueName
from maskloop.errors import MaskloopError
from maskloop.inference import Segmenter
from maskloop.labelstudio.handlers import propose

Json = dict[str, Any]
KIND = "propose"
LAPSE = 120.0
"""Seconds after which proposals that nobody began are not wanted any more."""

log = logging.getLogger("maskloop.proposing")


def submit(dispatcher: Dispatcher, click: Json) -> None:
    """Have the proposals made for a click's payload, before anything that waits. Nobody waits for them: if it can't
    be, the decoder goes on answering."""
    payload = {name: value for name, value in click.items() if name != "context"}
    key = f"{KIND}:{payload['project']}:{payload['task']['id']}:{payload['version']}"
    try:
        dispatcher.submit(KIND, payload, queue=QueueName.BATCH, deadline=LAPSE, key=key, on_same_key="join", first=True)
    except MaskloopError as error:
        log.info("No proposals are made for task %s now: %s", payload["task"]["id"], error)


def handler(segmenter: Callable[[str], Segmenter]) -> Callable[[Any, JobContext], None]:
    """What a batch worker does with jobs of ``KIND``. ``segmenter``: of a version."""

    def run(payload: Any, context: JobContext) -> None:
        context.check()
        propose(segmenter(payload["version"]), payload)

    return run
