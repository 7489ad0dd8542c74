"""What a worker does for Label Studio: a click's mask, and automatic masks of a task. JSON in, a prediction out.

A prediction is ``{"result": [regions], "score", "model_version"}``, https://labelstud.io/guide/predictions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from maskloop.errors import ImageRefused, ImageUnreadable, MaskloopError
from maskloop.images import task_reference
from maskloop.inference import Segmenter
from maskloop.labelstudio.controls import ImageTag, Output
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.prompts import Click, read_click
from maskloop.labelstudio.regions import Canvas, Region, regions_of
from maskloop.labelstudio.wire import Context, Task, Wire
from maskloop.sam import masks
from maskloop.sam.picking import Picker
from maskloop.sam.protocols import Classify
from maskloop.sam.values import Mask

Json = dict[str, Any]
TOGETHER = 16
"""Masks that are named at once; each may be as large as the image."""
UNPROPOSED = "unproposed"
"""Set in a click's answer if it was to be picked from proposals, and there are none yet."""

log = logging.getLogger(__name__)


class NothingFound(MaskloopError):
    """The network sees no object where the prompt is."""

    code: ClassVar[str] = "nothing_found"


class TaskImages(Wire):
    """What jobs know of a task: ``images``, see ``LabelConfig.images_in``, and nothing else of its data."""

    id: int | None
    images: dict[str, tuple[str, ...]]


class Work(Wire):
    """The payload of both jobs. ``version`` is what the prediction carries."""

    project: int | None = None
    task: TaskImages
    label_config: str
    options: Options = Options()
    version: str


class ClickWork(Work):
    context: Context


def click(segmenter: Segmenter, payload: Json, classify: Classify | None = None) -> Json:
    """Masks for the prompts in the payload's context; no region if all prompts were taken back.

    Points that pick are answered from the proposals of ``pre_annotate`` if one fits; anything else, by the decoder.
    ``classify`` names the masks of prompts without a label.

    Raises what the image raises, and BadRequest, BadLabelConfig or NothingFound.
    """
    work = ClickWork.read(payload)
    config = LabelConfig.parse(work.label_config)
    wanted = read_click(config, work.context, work.task.images)
    if wanted is None:
        return prediction([], work.version)
    outputs = config.outputs(wanted.image.name, wanted.label, work.options.outputs)
    reference = reference_of(work, wanted.reference)
    picks = wanted.picks or (work.options.pick and bool(wanted.points) and not wanted.boxes)
    picker = segmenter.picker(reference, work.options.automatic_settings()) if picks else None
    answers = (_picked(picker, wanted) if picker else []) or _decoded(segmenter, reference, wanted)
    height, width = answers[0].pixels.shape
    canvas = Canvas(height, width, page=wanted.page, rotation=wanted.rotation)
    named = _Named(config, outputs, segmenter, classify)
    found = [
        region
        for mask, able in named.of(reference, answers)
        for region in regions_of(mask, able, canvas, work.options.polygon_tolerance)
    ]
    if not found:
        raise NothingFound("No object was found here.", "Add another point, or draw a rectangle around the object.")
    unproposed = {UNPROPOSED: True} if picks and picker is None else {}
    return {**prediction(found, work.version), **unproposed}


def pre_annotate(segmenter: Segmenter, payload: Json, classify: Classify | None = None) -> Json:
    """Automatic masks of all images of the payload's task.

    ``classify`` names them where a control has several labels and the configuration names none.

    Raises what an image raises that may come another time, or if no other gave anything, BadRequest, BadLabelConfig,
    and NothingFound if there is no object at all.
    """
    work = Work.read(payload)
    config = LabelConfig.parse(work.label_config)
    settings = work.options.automatic_settings()
    found: list[Region] = []
    failures: list[MaskloopError] = []
    for tag, page, reference in _images(work, config):
        outputs = config.automatic_outputs(tag.name, work.options.outputs, work.options.default_label)
        if not outputs:
            continue
        try:
            best = islice(segmenter.everything(reference, settings), work.options.max_regions)
            for mask, able in _Named(config, outputs, segmenter, classify).of(reference, best):
                height, width = mask.pixels.shape
                found += regions_of(mask, able, Canvas(height, width, page), work.options.polygon_tolerance)
        except (ImageRefused, ImageUnreadable) as error:
            failures.append(error)
    if failures and not found:
        raise failures[0]
    for failure in failures:
        log.warning("project=%s task=%s: %s", work.project, work.task.id, failure)
    if not found:
        raise NothingFound(
            "No object was found, or no control takes automatic masks.",
            'Lower extra_params {"automatic": {"pred_iou_thresh": ...}}, or see maskloop_output in the configuration.',
        )
    return prediction(found, work.version)


@dataclass(frozen=True, slots=True)
class _Named:
    """Masks with the outputs that they go to: the class names what has no label yet, if it is known."""

    config: LabelConfig
    outputs: Sequence[Output]
    segmenter: Segmenter
    classify: Classify | None

    def of(self, reference: str, answers: Iterable[Mask]) -> Iterator[tuple[Mask, Sequence[Output]]]:
        if self.classify is None or all(output.label for output in self.outputs):
            yield from ((mask, self.outputs) for mask in answers)
            return
        image, answers = self.segmenter.image(reference), iter(answers)
        while some := list(islice(answers, TOGETHER)):
            names = self.classify(image, [mask.pixels for mask in some])
            yield from ((mask, self.config.named(self.outputs, name)) for mask, name in zip(some, names, strict=True))


def prefetch(segmenter: Segmenter, payload: Json) -> int:
    """Encodes the images of the payload's task that aren't yet; returns how many. Raises what the image raises."""
    work = Work.read(payload)
    images = _images(work, LabelConfig.parse(work.label_config))
    return sum(segmenter.prefetch(reference) for _, _, reference in images)


def propose(segmenter: Segmenter, payload: Json) -> None:
    """Makes what clicks on the payload's task are to be picked from. Raises what the image raises."""
    work = Work.read(payload)
    for _, _, reference in _images(work, LabelConfig.parse(work.label_config)):
        segmenter.everything(reference, work.options.automatic_settings())


def prediction(result: Sequence[Region], version: str) -> Json:
    """The score is the mean of the regions' scores, 0 without any: the least certain tasks come first."""
    scores = [float(region["score"]) for region in result if "score" in region]
    score = round(sum(scores) / len(scores), 4) if scores else 0.0
    return {"result": list(result), "score": score, "model_version": version}


def reference_of(work: Work, text: str) -> str:
    return task_reference(text, task=work.task.id, project=work.project)


def _images(work: Work, config: LabelConfig) -> list[tuple[ImageTag, int | None, str]]:
    """The images that the task has: tag, page and reference. Raises BadRequest if it has none."""
    tags = config.images.values()
    return [
        (tag, page if tag.several else None, reference_of(work, text))
        for tag in [tag for tag in tags if work.task.images.get(tag.name)] or tags
        for page, text in enumerate(tag.of(work.task.images))
    ]


def _picked(picker: Picker, wanted: Click) -> list[Mask]:
    """One of the proposals, or none."""
    ((*_, prompt),) = wanted.objects(picker.proposals.size)
    index = picker.pick(prompt.points, prompt.labels)
    return [] if index is None else [picker.proposals[index]]


def _decoded(segmenter: Segmenter, reference: str, wanted: Click) -> list[Mask]:
    return [
        Mask(masks.upscale(found.logits[0], found.size), float(found.scores[0]))
        for found in segmenter.refine(reference, wanted.objects)
    ]


def payload_of(
    project: int | None, task: Task, label_config: str, options: Options, version: str, context: Context | None = None
) -> Json:
    """What the handlers take. Raises BadLabelConfig."""
    base: Mapping[str, Any] = {
        "project": project,
        "task": {"id": task.id, "images": LabelConfig.parse(label_config).images_in(task.data)},
        "label_config": label_config,
        "options": options.model_dump(mode="json"),
        "version": version,
    }
    return {**base, "context": context.model_dump(mode="json")} if context else dict(base)
