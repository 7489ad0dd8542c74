"""What `maskloop demo --check` does once everything runs: a click, a rectangle, predictions, a submitted annotation."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from maskloop.demo.checkout import DemoError
from maskloop.demo.label_studio import JSON
from maskloop.demo.stack import Stack
from maskloop.demo.steps import Steps
from maskloop.geometry import label_studio_rle
from maskloop.labelstudio.controls import Control, Shape
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation

PHOTO = "coffee"
WIDTH, HEIGHT = 600, 400
CUP = (27.0, 2.0, 43.0, 68.0)
"""The cup in that photo: x, y, width, height, percent. Its middle is a good click."""
WEBHOOK_TIMEOUT = 20.0


@dataclass(frozen=True)
class Prompting:
    """The controls of a labeling configuration that take prompts, and a label that both have."""

    point: Control
    rectangle: Control

    @classmethod
    def of(cls, label_config: str) -> Prompting:
        prompts = LabelConfig.parse(label_config).prompts()
        return cls(_first(prompts, Shape.KEYPOINT), _first(prompts, Shape.RECTANGLE))

    def click(self, x: float, y: float) -> JSON:
        """A positive click, as the editor sends it; percent."""
        return {**_prompt(self.point, x=x, y=y, width=0.3), "is_positive": True}

    def box(self, x: float, y: float, width: float, height: float) -> JSON:
        return _prompt(self.rectangle, x=x, y=y, width=width, height=height, rotation=0)


def check(stack: Stack, label_config: Path, steps: Steps) -> None:
    """Print a line for each step; ``steps.failed`` counts those that did not hold."""
    label_studio, prompting = stack.label_studio, Prompting.of(label_config.read_text())
    tasks = label_studio.tasks(stack.project)
    task = _task(tasks)
    x, y, width, height = CUP
    with steps.attempt("A click gives the mask of what it is on") as show:
        click = prompting.click(x + width / 2, y + height / 2)
        mask = _mask(label_studio.interact(stack.connection, task, [click]))
        if not mask[int((y + height / 2) / 100 * HEIGHT), int((x + width / 2) / 100 * WIDTH)]:
            raise DemoError("The clicked point is not in the mask.")
        show(f"{mask.sum()} pixels")
    answer: JSON = {}
    with steps.attempt("A rectangle gives the mask of what it holds") as show:
        answer = label_studio.interact(stack.connection, task, [prompting.box(*CUP)])
        inside, mask = _box_pixels(), _mask(answer)
        if (mask & inside).sum() < 0.9 * mask.sum() or (mask & inside).sum() < 0.3 * inside.sum():
            raise DemoError("The mask is not what the rectangle holds.")
        show(f"{mask.sum()} pixels")
    with steps.attempt("Predictions retrieved for a task") as show:
        predictions = label_studio.tasks(stack.project)[-1]["predictions"]
        regions = [region for one in predictions if one["model_version"] == stack.version for region in one["result"]]
        if not regions:
            raise DemoError("The task has no predicted regions.")
        show(f"{len(regions)} regions")
    with steps.attempt("Annotation submitted and received by maskloop") as show:
        annotation = label_studio.annotate(task, answer.get("result", []), lead_time=1.0)
        _wait_for_webhook(stack.feedback, annotation)
        show(f"annotation {annotation}")


def _first(prompts: Sequence[Control], shape: Shape) -> Control:
    """Raises DemoError if there is no such control with labels of its own."""
    for control in prompts:
        if control.shape is shape and control.labels and control.labels.all:
            return control
    raise DemoError(f"The labeling configuration has no smart {shape} with labels.")


def _prompt(control: Control, **geometry: float) -> JSON:
    assert control.labels is not None
    return {
        "id": uuid4().hex[:10],
        "from_name": control.name,
        "to_name": control.image,
        "type": control.type,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": {**geometry, control.type: [control.labels.all[0].written]},
    }


def _task(tasks: Sequence[JSON]) -> int:
    for task in tasks:
        if PHOTO in str(task["data"]):
            return int(task["id"])
    raise DemoError(f"No task has the photo {PHOTO}.")


def _mask(prediction: JSON) -> NDArray[np.bool_]:
    """The brush mask in an interactive answer, (HEIGHT, WIDTH). Raises DemoError if there is none."""
    for region in prediction["result"]:
        if region["type"] == "brushlabels":
            return label_studio_rle.decode(region["value"]["rle"], HEIGHT, WIDTH)
    texts = [text for region in prediction["result"] for text in region["value"].get("text", [])]
    raise DemoError(f"The answer holds no brush mask. {' '.join(texts)}".strip())


def _box_pixels() -> NDArray[np.bool_]:
    x, y, width, height = CUP
    pixels = np.zeros((HEIGHT, WIDTH), np.bool_)
    rows = slice(int(y / 100 * HEIGHT), int((y + height) / 100 * HEIGHT))
    pixels[rows, int(x / 100 * WIDTH) : int((x + width) / 100 * WIDTH)] = True
    return pixels


def _wait_for_webhook(feedback: FeedbackStore, annotation: int) -> None:
    """Until the annotation is in maskloop's feedback store, where its webhook brings it. Raises DemoError."""
    end = time.monotonic() + WEBHOOK_TIMEOUT
    while time.monotonic() < end:
        with feedback.session() as session:
            if session.get(Annotation, annotation) is not None:
                return
        time.sleep(0.2)
    raise DemoError("Label Studio's webhook has not arrived.", "Is SSRF_PROTECTION_ENABLED=false there?")
