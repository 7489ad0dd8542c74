"""What a version's scores are worth, told by what people did with its masks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Double, Select, case, cast, func, select

from maskloop.learning.calibration import FEWEST, Chances, fit
from maskloop.learning.registry import Registry
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation, Prediction, RegionVerdict, Verdict

log = logging.getLogger(__name__)

CHANGE = 0.2
"""A project's scores are fitted again when this share of what they were fitted to has changed: masks that came, that
went, or that are judged otherwise, by people or by newer rules."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model thought of a mask, and whether a person took it as it was. prompted: they clicked or boxed it."""

    score: float
    accepted: bool
    prompted: bool


@dataclass(frozen=True, slots=True)
class JudgedMask(Judgement):
    """A mask that a person judged in Label Studio. at: when.

    kept: how much of it: 1 of one accepted, the edited regions' mean IoU, or 0 if all was rejected.
    prompts: clicks and boxes that it took, None if the model found it by itself; those of an answer that shows several
    masks, divided among them.
    """

    kept: float
    prompts: float | None
    version: str
    project_id: int | None
    task_id: int
    at: datetime


def judged_masks(
    store: FeedbackStore, project_id: int | None, model_version: str | None = None, *more: ColumnElement[bool]
) -> list[JudgedMask]:
    """All masks that the model predicted and a person judged, of one project and version, or of all, in the order in
    which their tasks were judged.

    more: conditions on ``Prediction``. Predictions turned into annotations in bulk don't count: nobody looked. Of
    several clicks on one object, only the last one's answer does: the others may have been placed in one go.
    Raises FeedbackUnavailable.
    """
    with store.session() as session:
        rows = session.execute(_by_mask(project_id, model_version).where(*more)).all()
    return [
        JudgedMask(
            score=row.score,
            accepted=bool(row.accepted),
            prompted=row.prompts is not None,
            kept=float(row.kept),
            prompts=row.prompts,
            version=row.model_version,
            project_id=row.project_id,
            task_id=row.task_id,
            at=row.at,
        )
        for row in rows
    ]


def count_judged(store: FeedbackStore, project_id: int, model_version: str) -> Counter[tuple[bool, bool]]:
    """How many ``judged_masks`` there are, by (prompted, accepted). Raises FeedbackUnavailable."""
    masks = _by_mask(project_id, model_version).subquery()
    columns = masks.c.prompts.is_not(None), masks.c.accepted
    with store.session() as session:
        rows = session.execute(select(*columns, func.count()).group_by(*columns)).all()
    return Counter({(bool(prompted), bool(accepted)): count for prompted, accepted, count in rows})


def _by_mask(
    project_id: int | None, model_version: str | None
) -> Select[float, bool, float, float | None, str | None, int | None, int, datetime]:
    """See ``JudgedMask``.

    The regions of one score in a click's answer show one mask, in several controls and as several polygons: it was
    accepted if some of it was kept and nothing edited. Of an automatic prediction each region counts as a mask. Where
    the label alone was changed, the mask was accepted.
    """
    prompted = Prediction.prompts.is_not(None)
    iou = func.coalesce(RegionVerdict.iou, 0.0)
    is_edited = (RegionVerdict.verdict == Verdict.EDITED) & (iou < 1)
    is_kept = RegionVerdict.verdict.in_((Verdict.ACCEPTED, Verdict.EDITED)) & ~is_edited
    kept, edited = (func.max(case((found, 1), else_=0)) for found in (is_kept, is_edited))
    overlap = func.coalesce(func.avg(case((is_edited, iou))), 0.0)
    prompts = cast(func.max(func.json_array_length(Prediction.prompts)), Double)
    answers = func.count().over(partition_by=(RegionVerdict.annotation_id, Prediction.id))
    return (
        select(
            func.max(RegionVerdict.score).label("score"),
            (kept > edited).label("accepted"),
            case((kept > edited, 1.0), else_=overlap).label("kept"),
            (prompts / answers).label("prompts"),
            RegionVerdict.model_version,
            RegionVerdict.project_id,
            RegionVerdict.task_id,
            func.max(RegionVerdict.at).label("at"),
        )
        .where(*_judged_by_people(project_id, model_version))
        .group_by(
            RegionVerdict.model_version,
            RegionVerdict.project_id,
            RegionVerdict.task_id,
            RegionVerdict.annotation_id,
            Prediction.id,
            RegionVerdict.score,
            case((prompted, ""), else_=RegionVerdict.region_id),
        )
        .order_by(func.min(RegionVerdict.id))
    )


def _judged_by_people(project_id: int | None, model_version: str | None) -> list[ColumnElement[bool]]:
    """Which verdicts are a person's on a predicted mask; of one project and version, or of all."""
    found = [
        RegionVerdict.annotation_id == Annotation.id,
        RegionVerdict.prediction_id == Prediction.id,
        RegionVerdict.score.is_not(None),
        ~Annotation.converted,
    ]
    if project_id is not None:
        found.append(RegionVerdict.project_id == project_id)
    if model_version is not None:
        found.append(RegionVerdict.model_version == model_version)
    return found


def of_judgements(judged: Iterable[Judgement]) -> Chances:
    """From verdicts."""
    by_prompted: dict[bool, list[Judgement]] = {True: [], False: []}
    for one in judged:
        by_prompted[one.prompted].append(one)
    prompted, automatic = (
        fit([one.score for one in found], [one.accepted for one in found])
        for found in (by_prompted[True], by_prompted[False])
    )
    return Chances(prompted=prompted, automatic=automatic)


def follow_verdicts(store: FeedbackStore, registry: Registry, name: str, version: str, project: int) -> bool:
    """Fit a project's scores to its verdicts if these are quite others than before; whether that was done.

    name: of the version in the registry; version: what its predictions carry. Raises FeedbackUnavailable.
    """
    before = registry.own_chances(name, project)
    now, then = count_judged(store, project, version), _fitted_to(before)
    changed = sum(abs(now[kind] - then[kind]) for kind in now | then)
    if changed < (CHANGE * before.judged or FEWEST):
        return False
    chances = of_judgements(judged_masks(store, project, version))
    registry.record_chances(name, chances, project)
    log.info("project=%d version=%s scores are fitted to %d masks", project, name, chances.judged)
    return True


def _fitted_to(chances: Chances) -> Counter[tuple[bool, bool]]:
    """As ``count_judged``."""
    kinds = (True, chances.prompted), (False, chances.automatic)
    return Counter(
        {
            (prompted, accepted): one.accepted if accepted else one.judged - one.accepted
            for prompted, one in kinds
            for accepted in (True, False)
        }
    )
