"""What the reviews of a project say of the model: the figures behind `maskloop report`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from maskloop.learning.acceptance import JudgedMask, judged_masks
from maskloop.learning.approved import count_reviewed
from maskloop.learning.calibration import calibration_error, fit
from maskloop.learning.dataset import is_held_out
from maskloop.learning.orders import learned_from
from maskloop.learning.regions import Region, UnusableRegion, image_of, shapes
from maskloop.learning.registry import Judgement, Registry
from maskloop.learning.reviews import name_of
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation, Prediction, Project, RegionVerdict, Task, Verdict
from maskloop.learning.versions import name_of as name_of_version

NO_LABEL = "(none)"
WORST = 12
BINS, FEWEST_IN_BIN = 10, 20
ENOUGH = 50
"""Masks below which a calibration error says more of chance than of the scores."""


@dataclass(frozen=True, slots=True)
class Quality:
    """One version: its judged masks, the share that was accepted, how much was kept, and what the gate found."""

    version: str
    masks: int
    acceptance: float | None
    kept: float | None
    gate: Judgement | None


@dataclass(frozen=True, slots=True)
class Day:
    """acceptance: of masks; seconds: spent on a region, the median; prompts: until a mask was kept, the mean."""

    day: date
    acceptance: float | None
    seconds: float | None
    prompts: float | None


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Of one label, in regions. None where nothing was predicted, or nothing there."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Reliability:
    """What one kind of a version's scores is worth: of masks that were clicked or boxed, or of automatic ones.

    bins: of predicted score: mean score, share accepted, masks. error: of calibration, on the masks of half of the
    tasks; calibrated: on the same, by a map fitted to the other half; None of fewer than ``ENOUGH`` in either.
    """

    prompted: bool
    bins: tuple[tuple[float, float, int], ...]
    error: float | None = None
    calibrated: float | None = None


@dataclass(frozen=True, slots=True)
class WorstCase:
    """A prediction that was changed much. ``image``: its reference in the task's data."""

    task_id: int
    iou: float
    version: str
    image: str
    before: Region
    after: Region


@dataclass(frozen=True, slots=True)
class Report:
    """A mask that a click gave may be several regions: see ``JudgedMask``. verdicts: on regions."""

    project: str
    verdicts: Mapping[str, int]
    versions: tuple[Quality, ...]
    days: tuple[Day, ...]
    classes: tuple[ClassFigures, ...]
    confusion: Mapping[tuple[str, str], int]
    """(predicted label, final label) to regions; ``NO_LABEL`` of a mask that was added or rejected, or has none."""
    served: str
    """The version in service."""
    reliability: tuple[Reliability, ...]
    """Its own."""
    worst: tuple[WorstCase, ...]
    learnable: int
    """Masks that a version may learn from: reviewed, and not held out. ``learned``: the one in service, of these."""
    learned: int


def gather(store: FeedbackStore, registry: Registry, project_id: int) -> Report:
    """The figures of a project. Raises FeedbackUnavailable."""
    masks = judged_masks(store, project_id)
    with store.session() as session:
        query = (
            select(RegionVerdict)
            .join(Annotation, Annotation.id == RegionVerdict.annotation_id)
            .where(RegionVerdict.project_id == project_id, ~Annotation.converted)
            .order_by(RegionVerdict.at)
        )
        rows = session.scalars(query).all()
        project = session.get(Project, project_id)
        days = _days(session, rows, masks, project_id)
        worst = _worst(session, rows, project)
        title = project.title if project else ""
    confusion = Counter(_labels(row) for row in rows)
    served = registry.in_service(project_id)
    learned = learned_from(registry.get(served), project_id)
    reviewed = count_reviewed(store, project_id)
    return Report(
        project=f"{title} (project {project_id})".strip(),
        verdicts=Counter(row.verdict for row in rows),
        versions=_versions(masks, registry, project_id, served),
        days=days,
        classes=_classes(confusion),
        confusion=confusion,
        served=served,
        reliability=_reliability([mask for mask in masks if name_of_version(mask.version) == served]),
        worst=worst,
        learnable=sum(count for task, count in reviewed.items() if not is_held_out(name_of(task))),
        learned=learned.objects if learned else 0,
    )


def _labels(row: RegionVerdict) -> tuple[str, str]:
    """Of a region whose prediction isn't known, the one that it has now was predicted."""
    unknown = row.prediction_id is None and row.verdict != Verdict.ADDED
    return (row.label if unknown else row.predicted_label) or NO_LABEL, row.label or NO_LABEL


def _versions(masks: Sequence[JudgedMask], registry: Registry, project_id: int, served: str) -> tuple[Quality, ...]:
    """Those whose masks were judged here, those that learned from it, and the one in service."""
    by_version: dict[str, list[JudgedMask]] = defaultdict(list)
    for mask in masks:
        by_version[name_of_version(mask.version)].append(mask)
    for version in registry.versions():
        if learned_from(version, project_id) or version.name == served:
            by_version.setdefault(version.name, [])
    return tuple(
        Quality(
            version,
            len(found),
            _mean([mask.accepted for mask in found]),
            _mean([mask.kept for mask in found]),
            registry.judgement(version) if registry.has(version) else None,
        )
        for version, found in by_version.items()
    )


def _days(
    session: Session, rows: Sequence[RegionVerdict], masks: Sequence[JudgedMask], project_id: int
) -> tuple[Day, ...]:
    leads = select(Annotation.id, Annotation.lead_time).where(Annotation.project_id == project_id)
    seconds = {annotation: spent for annotation, spent in session.execute(leads) if spent is not None}
    regions_of = Counter(row.annotation_id for row in rows if row.verdict != Verdict.REJECTED)
    annotations: dict[date, set[int]] = defaultdict(set)
    judged: dict[date, list[JudgedMask]] = defaultdict(list)
    for row in rows:
        annotations[row.at.date()].add(row.annotation_id)
    for mask in masks:
        judged[mask.at.date()].append(mask)
    found = []
    for day, numbers in sorted(annotations.items()):
        paces = [seconds[number] / regions_of[number] for number in numbers & seconds.keys() & regions_of.keys()]
        found.append(
            Day(
                day,
                _mean([mask.accepted for mask in judged[day]]),
                float(np.median(paces)) if paces else None,
                _mean([mask.prompts for mask in judged[day] if mask.kept]),
            )
        )
    return tuple(found)


def _classes(confusion: Mapping[tuple[str, str], int]) -> tuple[ClassFigures, ...]:
    names = sorted({label for pair in confusion for label in pair} - {NO_LABEL})
    found = []
    for name in names:
        right = confusion.get((name, name), 0)
        predicted = sum(count for (before, _), count in confusion.items() if before == name)
        there = sum(count for (_, after), count in confusion.items() if after == name)
        precision, recall = (right / total if total else None for total in (predicted, there))
        f1 = 2 * right / (predicted + there) if predicted + there else None
        found.append(ClassFigures(name, precision, recall, f1, there))
    return tuple(found)


def _reliability(masks: Sequence[JudgedMask]) -> tuple[Reliability, ...]:
    by_kind: dict[bool, list[JudgedMask]] = defaultdict(list)
    for mask in masks:
        by_kind[mask.prompted].append(mask)
    return tuple(_of_kind(kind, by_kind[kind]) for kind in sorted(by_kind, reverse=True))


def _of_kind(prompted: bool, masks: Sequence[JudgedMask]) -> Reliability:
    scores = np.array([mask.score for mask in masks], np.float64)
    accepted = np.array([mask.accepted for mask in masks], np.float64)
    tasks = np.array([mask.task_id for mask in masks])
    parts = np.array_split(np.argsort(scores, kind="stable"), _bins(len(masks)))
    bins = tuple((float(scores[part].mean()), float(accepted[part].mean()), len(part)) for part in parts)
    half = np.isin(tasks, np.random.default_rng(0).permutation(np.unique(tasks))[::2])
    if min(np.count_nonzero(half), np.count_nonzero(~half)) < ENOUGH:
        return Reliability(prompted, bins)
    calibration = fit(scores[half], accepted[half])
    error, calibrated = (
        calibration_error(chances, accepted[~half], _bins(np.count_nonzero(~half)))
        for chances in (scores[~half], calibration(scores[~half]))
    )
    return Reliability(prompted, bins, error, calibrated)


def _bins(masks: int) -> int:
    return min(BINS, max(1, masks // FEWEST_IN_BIN))


def _worst(session: Session, rows: Sequence[RegionVerdict], project: Project | None) -> tuple[WorstCase, ...]:
    edited = sorted((row for row in rows if row.iou is not None and row.iou < 1), key=lambda row: row.iou or 0.0)
    found: list[WorstCase] = []
    for row in edited[:WORST]:
        task, annotation = session.get(Task, row.task_id), session.get(Annotation, row.annotation_id)
        prediction = session.get(Prediction, row.prediction_id) if row.prediction_id is not None else None
        if task is None or annotation is None or prediction is None or project is None:
            continue
        before, after = (
            next((region for region in shapes(result) if region["id"] == row.region_id), None)
            for result in (prediction.result, annotation.result)
        )
        if before is None or after is None:
            continue
        try:
            image = image_of(after, task.data, project.controls)
        except UnusableRegion:
            continue  # its control was renamed since
        found.append(WorstCase(task.id, row.iou or 0.0, name_of_version(row.model_version or ""), image, before, after))
    return tuple(found)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
