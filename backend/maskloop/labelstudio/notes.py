"""What people get to see is noted, so that it can be compared with what they make of it."""

from __future__ import annotations

import logging
from typing import Any

from maskloop.labelstudio.prompts import Click
from maskloop.learning.spool import FeedbackUnavailable
from maskloop.learning.store import FeedbackStore, MadePrediction

Json = dict[str, Any]

log = logging.getLogger(__name__)


def note(store: FeedbackStore, payload: Json, made: Json, click: Click | None = None) -> None:
    """``payload``: what the prediction was made of, see ``handlers.payload_of``. It reaches people noted or not."""
    task = payload["task"]["id"]
    if task is None:
        return
    prompts = None if click is None else [prompt.model_dump(mode="json") for prompt in click.prompts]
    noted = MadePrediction(task, payload["project"], made["model_version"], made["score"], made["result"], prompts)
    try:
        store.record_predictions([noted])
    except FeedbackUnavailable as error:
        log.warning("The prediction of task %s isn't noted: %s", task, error)
