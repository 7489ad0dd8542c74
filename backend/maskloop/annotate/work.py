"""One job: photos in, their segments out. Runs in a worker; what goes in and comes out is JSON."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

from maskloop.annotate.detections import Detection
from maskloop.annotate.sources import read
from maskloop.annotate.values import Segment
from maskloop.engines.base import Engine
from maskloop.engines.runtime import gpu_is_lost
from maskloop.errors import MaskloopError
from maskloop.images.decode import decode
from maskloop.learning.calibration import UNKNOWN, Calibration, Chances
from maskloop.sam.automatic import AutomaticSettings, propose
from maskloop.sam.masks import upscale
from maskloop.sam.proposals import Proposals
from maskloop.sam.protocols import Classify
from maskloop.sam.values import Embedding, Image, ImageSize, Mask, Prompt

KIND = "annotate"
"""Of these jobs, in the queue."""
READERS = 8
"""Photos of one job that are read at once."""
BOXES = 64
"""Prompts decoded at once."""
NAMED = 16
"""Masks that are named at once; each may be as large as the photo."""

NO_POINTS, NO_LABELS = np.zeros((0, 2), np.float32), np.zeros(0, np.int8)

Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """One photo. detections: the boxes that prompt its masks; None: everything in it."""

    reference: str
    detections: tuple[Detection, ...] | None = None

    def boxes(self) -> list[list[Any]] | None:
        """The detections in JSON."""
        return None if self.detections is None else [list(detection) for detection in self.detections]


@dataclass(frozen=True, slots=True)
class Job:
    """Photos that are encoded together. label: what automatic masks are called, those of ``classes`` (the name of a
    classifier, empty for none) where it is unsure. model: the version's name; empty: the one in service."""

    tasks: tuple[Task, ...]
    label: str
    automatic: AutomaticSettings
    classes: str = ""
    model: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "tasks": [[quote(task.reference, errors="surrogateescape"), task.boxes()] for task in self.tasks],
            "label": self.label,
            "automatic": asdict(self.automatic),
            "classes": self.classes,
            "model": self.model,
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Job:
        return cls(
            tuple(
                Task(
                    unquote(reference, errors="surrogateescape"),
                    None if boxes is None else tuple(Detection(tuple(box), *rest) for box, *rest in boxes),
                )
                for reference, boxes in document["tasks"]
            ),
            document["label"],
            AutomaticSettings(**document["automatic"]),
            document["classes"],
            document["model"],
        )


@dataclass(frozen=True, slots=True)
class Worker:
    """Does jobs of one model. max_bytes, max_pixels: of one photo, as a file and decoded. version: of the engine's
    model; chances: what its scores are worth. classifier: by its name; raises MaskloopError if there is none."""

    engine: Engine
    max_bytes: int
    max_pixels: int
    version: str
    chances: Chances = UNKNOWN
    classifier: Callable[[str], Classify] | None = None

    def __call__(self, payload: dict[str, Any]) -> list[dict[str, Any]]:
        """For each photo of a :class:`Job`, in order, its ``size``, ``segments``, ``version`` and ``problems``, or why
        it is ``skipped``. A photo that can't be done spoils no other."""
        job = Job.from_json(payload)
        with ThreadPoolExecutor(min(READERS, len(job.tasks))) as readers:
            images = list(readers.map(lambda task: _or_reason(lambda: self._read(task)), job.tasks))
        readable = [image for image in images if not isinstance(image, str)]
        embeddings = iter(self._encode(readable))
        answers = []
        for task, image in zip(job.tasks, images, strict=True):
            found = image if isinstance(image, str) else self._annotate(image, next(embeddings), task, job)
            answers.append({"skipped": found} if isinstance(found, str) else found)
        return answers

    def _read(self, task: Task) -> Image:
        return decode(read(task.reference, self.max_bytes), max_pixels=self.max_pixels)

    def _encode(self, images: Sequence[Image]) -> Sequence[Embedding | str]:
        """All at once; one at a time where that fails, so that only the one at fault fails."""
        together = _or_reason(lambda: self.engine.encode(images)) if images else []
        if isinstance(together, str):
            return [_or_reason(functools.partial(self._encode_one, image)) for image in images]
        return together

    def _encode_one(self, image: Image) -> Embedding:
        (embedding,) = self.engine.encode([image])
        return embedding

    def _annotate(self, image: Image, embedding: Embedding | str, task: Task, job: Job) -> dict[str, Any] | str:
        if isinstance(embedding, str):
            return embedding

        def find() -> dict[str, Any]:
            if task.detections is None:
                return self._answer(embedding, self._everything(image, embedding, job))
            return self._answer(embedding, *self._prompted(embedding, task.detections))

        return _or_reason(find)

    def _answer(
        self, embedding: Embedding, segments: Sequence[Segment], problems: Sequence[str] = ()
    ) -> dict[str, Any]:
        return {
            "size": list(embedding.size),
            "segments": [asdict(each) for each in segments],
            "version": self.version,
            "problems": list(problems),
        }

    def _everything(self, image: Image, embedding: Embedding, job: Job) -> list[Segment]:
        masks = propose(self.engine, embedding, job.automatic, image)
        named = zip(masks, self._labels(image, masks, job), strict=True)
        return [Segment.of(_scored(mask, self.chances.automatic), label) for mask, label in named]

    def _labels(self, image: Image, masks: Proposals, job: Job) -> Iterator[str]:
        if not job.classes or self.classifier is None:
            yield from [job.label] * len(masks)
            return
        classify = self.classifier(job.classes)
        for start in range(0, len(masks), NAMED):
            some = [masks[index].pixels for index in range(start, min(start + NAMED, len(masks)))]
            yield from (name or job.label for name in classify(image, some))

    def _prompted(self, embedding: Embedding, detections: Sequence[Detection]) -> tuple[list[Segment], list[str]]:
        inside = [_clipped(detection, embedding.size) for detection in detections]
        prompts = [Prompt(NO_POINTS, NO_LABELS, box) for box in inside if box is not None]
        masks = iter(self._masks(embedding, prompts))
        segments, problems = [], []
        for detection, box in zip(detections, inside, strict=True):
            name = f"The box {', '.join(f'{side:g}' for side in detection.box)} ({detection.label})"
            if box is None:
                problems.append(f"{name} holds nothing of the photo.")
            elif (mask := next(masks)).pixels.any():
                scored = _scored(mask, self.chances.prompted)
                score = scored.score if detection.score is None else detection.score
                segments.append(Segment.of(replace(mask, score=score), detection.label))
            else:
                problems.append(f"{name} gave no mask.")
        return sorted(segments, key=lambda segment: -segment.score), problems

    def _masks(self, embedding: Embedding, prompts: Sequence[Prompt]) -> Iterator[Mask]:
        for start in range(0, len(prompts), BOXES):
            for answer in self.engine.decode(embedding, prompts[start : start + BOXES], multimask=False):
                yield Mask(upscale(answer.logits[0], answer.size), float(answer.scores[0]))


def _scored(mask: Mask, calibration: Calibration) -> Mask:
    """With the chance that a person accepts it as its score, if that is known."""
    return mask if calibration.kind == "none" else replace(mask, score=float(calibration(mask.score)))


def _clipped(detection: Detection, size: ImageSize) -> NDArray[np.float32] | None:
    """The corners of the box inside the photo, or None."""
    x, y, width, height = detection.box
    x0, y0, x1, y1 = max(x, 0.0), max(y, 0.0), min(x + width, size.width), min(y + height, size.height)
    return np.array([x0, y0, x1, y1], np.float32) if x0 < x1 and y0 < y1 else None


def _or_reason(do: Callable[[], Result]) -> Result | str:
    """What ``do`` returns, or in words why it can't. A fault of ours is one photo's reason too, and logged; a lost GPU
    would be the reason of all."""
    try:
        return do()
    except MaskloopError as error:
        return str(error)
    except Exception as error:
        if gpu_is_lost(error):
            raise
        log.exception("a photo can't be annotated")
        return f"{type(error).__name__}: {error}"
