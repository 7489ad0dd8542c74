"""Whether a candidate may go into service: only if it is better where no version ever learned, beyond chance.

Judged like `maskloop evaluate` does: mean IoU of one click, mean IoU of a box, and NoC@85 with refinement. Intervals
are of the mean difference, by a paired bootstrap (Efron 1979) that draws whole photos: objects on one aren't
independent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskloop.evaluation.clicking import clicks_to, ious_by_click
from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.prompted import box, click
from maskloop.geometry import masks
from maskloop.learning.bootstrap import ROUNDS, Interval
from maskloop.sam.interactive import best_candidate
from maskloop.sam.masks import upscale
from maskloop.sam.protocols import Decoder
from maskloop.sam.values import Embedding

NOC_TARGET = 0.85
FEWEST_OBJECTS, FEWEST_PHOTOS = 20, 5
BOX_LOSS = 0.01
"""Mean IoU of a box that a better click may cost at most."""
GENERAL_LOSS = 0.15
"""Mean IoU with the official model's masks that a version may lose on the general set, however many came before it. One
that learned to give whole objects gives some parts up: up to 0.11 was seen of versions that were better by far."""


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """One model on a set of objects, float64 (N,) each, in the set's order. photos: on which photo each object is."""

    click: NDArray[np.float64]
    box: NDArray[np.float64]
    noc85: NDArray[np.float64]
    photos: NDArray[np.int64]

    def means(self) -> dict[str, float]:
        if not len(self.photos):
            return {}
        return {name: float(getattr(self, name).mean()) for name in ("click", "box", "noc85")}


@dataclass(frozen=True, slots=True, eq=False)
class Agreement:
    """One model on the general set, float64 (N,): IoU for a click, of the best of its three masks, and for a box."""

    click: NDArray[np.float64]
    box: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decision:
    """reason: a sentence for people, with the figures."""

    passed: bool
    reason: str


def measure(decoder: Decoder, photos: Iterable[tuple[Embedding, Sequence[GroundTruth]]]) -> Figures:
    """What a model makes of the objects on some photos."""
    clicks: list[float] = []
    boxes: list[float] = []
    counts: list[float] = []
    of: list[int] = []
    for number, (embedding, objects) in enumerate(photos):
        clicked = decoder.decode(embedding, [click(one) for one in objects], multimask=True)
        boxed = decoder.decode(embedding, [box(one) for one in objects], multimask=False)
        for one, for_click, for_box in zip(objects, map(best_candidate, clicked), boxed, strict=True):
            truth = one.mask
            clicks.append(masks.iou(upscale(for_click.logits[0], for_click.size), truth))
            boxes.append(masks.iou(upscale(for_box.logits[0], for_box.size), truth))
        runs = ious_by_click(decoder, embedding, objects, refine=True, target=NOC_TARGET)
        counts += [clicks_to(NOC_TARGET, ious) for ious in runs]
        of += [number] * len(objects)
    return Figures(np.array(clicks), np.array(boxes), np.array(counts), np.array(of, np.int64))


def agree(decoder: Decoder, photos: Iterable[tuple[Embedding, Sequence[GroundTruth]]]) -> Agreement:
    """How well a model still gives the objects on some photos. Which of a click's masks it would choose doesn't matter:
    that is for a project's people to teach."""
    clicks: list[float] = []
    boxes: list[float] = []
    for embedding, objects in photos:
        clicked = decoder.decode(embedding, [click(one) for one in objects], multimask=True)
        boxed = decoder.decode(embedding, [box(one) for one in objects], multimask=False)
        for one, for_click, for_box in zip(objects, clicked, boxed, strict=True):
            truth = one.mask
            clicks.append(max(masks.iou(upscale(logits, for_click.size), truth) for logits in for_click.logits))
            boxes.append(masks.iou(upscale(for_box.logits[0], for_box.size), truth))
    return Agreement(np.array(clicks), np.array(boxes))


def interval(candidate: NDArray[np.float64], served: NDArray[np.float64], photos: NDArray[np.int64]) -> Interval:
    """The mean difference of two models on the same objects, and how far chance may have moved it."""
    difference = candidate - served
    _, photo = np.unique(photos, return_inverse=True)
    sums, counts = np.bincount(photo, difference), np.bincount(photo)
    drawn = np.random.default_rng(0).integers(len(sums), size=(ROUNDS, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return Interval.of(float(difference.mean()), means, len(sums))


def too_few(objects: int, photos: int) -> Decision | None:
    """The refusal, if nothing can be told from so many held-out objects on so many photos."""
    if objects >= FEWEST_OBJECTS and photos >= FEWEST_PHOTOS:
        return None
    return Decision(
        False,
        f"{objects} held-out objects on {photos} photos are too few to tell: {FEWEST_OBJECTS} on {FEWEST_PHOTOS} are "
        "needed.",
    )


def decide(candidate: Figures, served: Figures, general: tuple[Agreement, Agreement] | None = None) -> Decision:
    """Compare a candidate with the model in service on the held-out objects and, if there is one, on a general set with
    the official model."""
    clicked, boxed, counts = (
        interval(getattr(candidate, name), getattr(served, name), served.photos) for name in ("click", "box", "noc85")
    )
    found = f"On {len(served.photos)} held-out objects: IoU of a click {clicked}, of a box {boxed}, NoC@85 {counts}"
    faults = []
    if clicked.low <= 0:
        faults.append("one click isn't better beyond chance")
    if counts.mean > 0:
        faults.append("more clicks are needed for an IoU of 0.85")
    if boxed.mean < -BOX_LOSS:
        faults.append("boxes got worse")
    if general is not None:
        now, official = general
        of_click = float(now.click.mean() - official.click.mean())
        of_box = float(now.box.mean() - official.box.mean())
        found += f"; on {len(now.box)} general ones, against the official: click {of_click:+.3f}, box {of_box:+.3f}"
        if min(of_click, of_box) < -GENERAL_LOSS:
            faults.append("it forgot too much of what the official model can")
    return Decision(not faults, f"{found}. " + ("Better." if not faults else f"Refused: {'; '.join(faults)}."))
