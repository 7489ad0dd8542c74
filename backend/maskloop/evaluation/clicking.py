"""How many clicks an object takes: NoC@85 and NoC@90, with and without refinement.

A simulated user clicks the centre (deepest point) of the largest error, what is missing or what is too much, until
the mask's IoU is high enough, at most 20 times. As in interactive segmentation's benchmarks, e.g. RITM,
https://arxiv.org/abs/2102.06583: the number of clicks to 85 % and 90 % IoU, 20 if that is not reached.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.measure import Sample
from maskloop.geometry import masks
from maskloop.sam.interactive import answer
from maskloop.sam.masks import upscale
from maskloop.sam.protocols import Decoder
from maskloop.sam.values import Embedding, Prompt

MOST_CLICKS = 20
TARGETS = (0.85, 0.90)
AFTER = (1, 2, 3, 5)
"""Clicks after which the mean IoU is told."""


@dataclass(frozen=True, slots=True)
class Click:
    """Pixel x, y; ``positive``: it is on the object."""

    x: int
    y: int
    positive: bool


def next_click(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Click | None:
    """Where a user would click next: the deepest point of the largest connected error; None if there is no error."""
    missing, excess = (masks.largest_component(wrong) for wrong in (truth & ~predicted, predicted & ~truth))
    positive = np.count_nonzero(missing) >= np.count_nonzero(excess)
    error = missing if positive else excess
    return Click(*masks.deepest_point(error), positive) if error.any() else None


@dataclass(slots=True)
class _Session:
    """One object on its way: what was clicked, and the IoU after each click."""

    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    logits: NDArray[np.float32] | None = None
    points: list[tuple[int, int]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)

    def click(self, target: float, fewest: int) -> bool:
        """Click once more, unless the mask is good enough or there were clicks enough."""
        done = len(self.ious) >= fewest and self.ious[-1] >= target
        click = None if done or len(self.points) == MOST_CLICKS else next_click(self.truth, self.predicted)
        if click is not None:
            self.points.append((click.x, click.y))
            self.labels.append(int(click.positive))
        return click is not None

    def prompt(self) -> Prompt:
        return Prompt(np.array(self.points, np.float32), np.array(self.labels, np.int8), mask_logits=self.logits)


def ious_by_click(
    decoder: Decoder,
    embedding: Embedding,
    objects: Sequence[GroundTruth],
    *,
    refine: bool,
    target: float,
    fewest: int = 1,
) -> list[list[float]]:
    """For each object the IoU after each click, until it is ``target``; ``fewest`` clicks at least, if there is an
    error left to click.

    refine: each answer's logits go into the object's next prompt.
    """
    sessions = [_Session(truth := target.mask, np.zeros_like(truth)) for target in objects]
    active = sessions
    while active := [session for session in active if session.click(target, fewest)]:
        answers = answer(decoder, embedding, [session.prompt() for session in active])
        for session, found in zip(active, answers, strict=True):
            session.predicted = upscale(found.logits[0], found.size)
            session.ious.append(masks.iou(session.predicted, session.truth))
            session.logits = found.logits[0] if refine else None
    return [session.ious for session in sessions]


def clicks_to(target: float, ious: Sequence[float]) -> int:
    """Number of the first click after which the IoU is at least ``target``; 20 if none is."""
    return next((number for number, iou in enumerate(ious, 1) if iou >= target), MOST_CLICKS)


class ManyClicks:
    """``noc85``, ``noc90``, ``miou_1`` and so on, and the same ``_without_refinement``."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._runs: dict[str, list[list[float]]] = {"": [], "_without_refinement": []}

    def add(self, sample: Sample) -> None:
        for suffix, runs in self._runs.items():
            runs += ious_by_click(
                self._decoder,
                sample.embedding,
                sample.photo.objects,
                refine=not suffix,
                target=max(TARGETS),
                fewest=max(AFTER),
            )

    def figures(self) -> dict[str, float]:
        figures = {}
        for suffix, runs in self._runs.items():
            for target in TARGETS:
                clicks = [clicks_to(target, ious) for ious in runs]
                figures[f"noc{target * 100:.0f}{suffix}"] = float(np.mean(clicks))
            for count in AFTER:
                reached = [ious[min(count, len(ious)) - 1] for ious in runs]
                figures[f"miou_{count}{suffix}"] = float(np.mean(reached))
        return figures
