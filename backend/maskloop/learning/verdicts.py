"""What people did with a task's predictions: a pure function of its annotations and predictions.

Label Studio keeps a predicted region's id, by which the two are compared: mask and label each for itself, as to name
what came without a label changes no mask. Where the prediction isn't known, the region's ``origin`` counts:
``prediction`` (kept as it was) or ``prediction-changed`` (also if only a label was chosen). Of the answer to a click it
is ``manual``, and annotations made through its API have none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from maskloop.geometry.masks import iou
from maskloop.learning import regions
from maskloop.learning.regions import Region, UnusableRegion
from maskloop.learning.tables import Verdict

Controls = Mapping[str, Mapping[str, object]]
"""Control tags of the labeling configuration by name, as Label Studio parses it."""
BY_ORIGIN: Mapping[object, Verdict] = {"prediction": Verdict.ACCEPTED, "prediction-changed": Verdict.EDITED}
"""Of a region whose prediction isn't known."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A prediction that a person could see: its shapes. ``prompts``: ids of the prompts it answers, oldest first."""

    id: int
    label_studio_id: int | None
    model_version: str
    score: float | None
    prompts: tuple[str, ...]
    regions: tuple[Region, ...]
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Final:
    """An annotation that was submitted and not deleted: its shapes. heard_at: first, received_at: its latest state."""

    id: int
    parent_prediction: int | None
    regions: tuple[Region, ...]
    heard_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """One region's verdict; ``seen`` and ``before`` are the prediction and its region, if they are known."""

    annotation_id: int
    region_id: str
    verdict: Verdict
    iou: float | None = None
    seen: Seen | None = None
    before: Region | None = None
    label: str | None = None
    outline: bool = False
    problem: str = ""

    @property
    def score(self) -> float | None:
        """What the model thought of the predicted region, before that became a chance."""
        score = regions.predicted_score(self.before or {})
        return self.seen.score if score is None and self.seen is not None else score

    @property
    def predicted_label(self) -> str | None:
        return regions.label(self.before) if self.before is not None else None


def judge(
    finals: Sequence[Final], predictions: Sequence[Seen], controls: Controls, data: Mapping[str, Any]
) -> list[Judged]:
    """One verdict for each region of the annotations, and for each predicted region that was dropped.

    controls: of the project, and data: of the task, as far as they are known.
    """
    predicted = {region["id"]: (seen, region) for seen in by_age(predictions) for region in seen.regions}
    judged = [
        _judge_final(final, region, predicted, find_problem(region, controls, data))
        for final in finals
        for region in final.regions
    ]
    judged += _rejected(finals, predictions)
    return list({(one.annotation_id, one.region_id): one for one in judged}.values())


def by_age(predictions: Iterable[Seen]) -> list[Seen]:
    return sorted(predictions, key=lambda seen: (seen.made_at, seen.id))


def _judge_final(final: Final, region: Region, predicted: Mapping[str, tuple[Seen, Region]], problem: str) -> Judged:
    seen, before = predicted.get(region["id"], (None, None))
    overlap = None
    if before is not None:
        try:
            overlap = 1.0 if region.get("origin") == "prediction" else overlap_of(before, region)
        except UnusableRegion as error:
            problem = problem or str(error)
    verdict = _verdict(region, before, overlap)
    return Judged(
        final.id,
        region["id"],
        verdict,
        overlap if verdict is Verdict.EDITED else None,
        seen,
        before,
        regions.label(region),
        regions.is_outline(region),
        problem,
    )


def _verdict(region: Region, before: Region | None, overlap: float | None) -> Verdict:
    if before is None:
        return BY_ORIGIN.get(region.get("origin"), Verdict.ADDED)
    label_stays = regions.label(before) in (None, regions.label(region))
    return Verdict.ACCEPTED if overlap == 1 and label_stays else Verdict.EDITED


def overlap_of(before: Region, after: Region) -> float:
    """IoU of two regions of one image: what they cover, as the editor writes equal masks in other bytes.

    Raises UnusableRegion.
    """
    if regions.size(before) != regions.size(after):
        (h, w), (height, width) = regions.size(before), regions.size(after)
        raise UnusableRegion(
            f"the region was predicted in an image of {w} x {h} pixels and is now of {width} x {height}"
        )
    if regions.geometry(before) == regions.geometry(after):
        return 1.0
    return iou(regions.mask(before), regions.mask(after))


def find_problem(region: Region, controls: Controls, data: Mapping[str, Any]) -> str:
    """Why a region can't be learned from, as far as its JSON tells; empty if it can. Masks are not decoded."""
    name = region.get("from_name")
    control = controls.get(name) if isinstance(name, str) else None
    if controls and control is None:
        return f"the labeling configuration has no control {name!r}"
    label = regions.label(region)
    known = control.get("labels") if control and not control.get("dynamic_labels") else None
    if label is not None and isinstance(known, Sequence) and known and label not in known:
        return f"the labeling configuration has no label {label!r} in {name}"
    try:
        regions.check(region)
        if controls and data:
            regions.image_of(region, data, controls)
    except UnusableRegion as error:
        return str(error)
    return ""


def _rejected(finals: Sequence[Final], predictions: Sequence[Seen]) -> Iterator[Judged]:
    """Regions that an annotation started from and lacks now, and last answers to clicks of which nothing was kept."""
    kept = {region["id"] for final in finals for region in final.regions}
    for final in finals:
        own = {region["id"] for region in final.regions}
        if (parent := _parent(final, predictions)) is not None:
            yield from (_reject(final, parent, region) for region in parent.regions if region["id"] not in own)
    for chain in chains(predictions):
        ids = {region["id"] for seen in chain for region in seen.regions}
        judge_of = min(
            (final for final in finals if final.received_at >= chain[-1].made_at),
            key=lambda final: (final.received_at, final.id),
            default=None,
        )
        if judge_of is not None and not ids & kept:
            yield from (_reject(judge_of, chain[-1], region) for region in chain[-1].regions)


def _parent(final: Final, predictions: Sequence[Seen]) -> Seen | None:
    """What the annotation started from: the task's prediction of that number or, as only Label Studio knows the numbers
    of those that it was given, the newest of those there were that has all regions which came from a prediction."""
    if final.parent_prediction is None:
        return None
    whole = [seen for seen in by_age(predictions) if not seen.prompts]
    clicked = {region["id"] for seen in predictions if seen.prompts for region in seen.regions}
    kept = {region["id"] for region in final.regions if region.get("origin") in ("prediction", "prediction-changed")}
    by_number = [seen for seen in whole if seen.label_studio_id == final.parent_prediction]
    by_regions = [
        seen
        for seen in whole
        if seen.label_studio_id is None
        and seen.made_at <= final.heard_at
        and kept - clicked <= {region["id"] for region in seen.regions}
    ]
    return next(reversed(by_number or by_regions), None)


def _reject(final: Final, seen: Seen, region: Region) -> Judged:
    return Judged(final.id, region["id"], Verdict.REJECTED, seen=seen, before=region)


def chains(predictions: Iterable[Seen]) -> Collection[Sequence[Seen]]:
    """Answers to the same growing list of prompts, oldest first: one chain for each object that was clicked."""
    found: dict[str, list[Seen]] = {}
    for seen in by_age(predictions):
        if seen.prompts:
            found.setdefault(seen.prompts[0], []).append(seen)
    return found.values()
