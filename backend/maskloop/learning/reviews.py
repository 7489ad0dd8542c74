"""The masks that a project's people approved, out of the feedback store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from maskloop.errors import BadRequest, MaskloopError
from maskloop.images import task_reference
from maskloop.learning import regions
from maskloop.learning.dataset import ReviewedPhoto, ground_truth
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation, Decision, Project, RegionVerdict, Review, Task, Verdict
from maskloop.sam.values import Image, ImageSize


def count_reviewed(store: FeedbackStore, project_id: int, since: datetime | None = None) -> int:
    """Masks of a project from which a model could learn, of all or of those heard of since. Raises
    FeedbackUnavailable."""
    with store.session() as session:
        return sum(
            1
            for _, annotation, ids in approved(session, project_id)
            if since is None or annotation.received_at > since
            for region in annotation.result
            if is_outline(region) and region["id"] in ids
        )


def is_outline(region: object) -> bool:
    """Whether the region says which pixels are the object's; a rectangle doesn't."""
    return regions.is_shape(region) and region["type"] in regions.BRUSH | regions.POLYGON


def from_reviews(
    store: FeedbackStore, project_id: int, load: Callable[[str], Image]
) -> tuple[list[ReviewedPhoto], dict[str, str]]:
    """Photos with the masks that were accepted, edited or added, and by task and region why others can't be used.

    load: from an image's reference in a task's data to its pixels, called by ``ReviewedPhoto.read`` alone.

    Raises FeedbackUnavailable, and BadRequest if the project is unknown.
    """
    photos: list[ReviewedPhoto] = []
    problems: dict[str, str] = {}
    with store.session() as session:
        project = session.get(Project, project_id)
        if project is None:
            raise BadRequest(f"Nothing is known of project {project_id}.", "Run `maskloop sync --project N` first.")
        for task, annotation, ids in approved(session, project_id):
            by_image: dict[tuple[str, int, int], list[NDArray[np.bool_]]] = {}
            for region in annotation.result:
                if not is_outline(region) or region["id"] not in ids:
                    continue
                try:
                    reference = image_of(region, task.data, project.controls)
                    image = task_reference(reference, task=task.id, project=project_id), *regions.size(region)
                    by_image.setdefault(image, []).append(regions.mask(region))
                except (regions.UnusableRegion, MaskloopError) as error:
                    problems[f"task {task.id}, region {region['id']}"] = str(error)
            for (reference, height, width), masks in by_image.items():
                read = partial(read_sized, load, reference, ImageSize(height, width))
                if objects := tuple(ground_truth(mask) for mask in masks if mask.any()):
                    photos.append(ReviewedPhoto(f"task {task.id}", read, objects))
    return photos, problems


def approved(session: Session, project_id: int) -> list[tuple[Task, Annotation, set[str]]]:
    """For each task the newest annotation, unless a reviewer refused it, and its regions without a problem."""
    newest: dict[int, Annotation] = {}
    live = select(Annotation).where(
        Annotation.project_id == project_id, ~Annotation.deleted, ~Annotation.skipped, ~Annotation.converted
    )
    for annotation in session.scalars(live.order_by(Annotation.updated_at, Annotation.id)):
        if annotation.task_id is not None:
            newest[annotation.task_id] = annotation
    refused = _refused(session)
    found: list[tuple[Task, Annotation, set[str]]] = []
    for task_id, annotation in sorted(newest.items()):
        task = session.get(Task, task_id)
        if task is None or task.deleted or task_id in refused:
            continue
        usable = select(RegionVerdict.region_id).where(
            RegionVerdict.annotation_id == annotation.id,
            RegionVerdict.verdict != Verdict.REJECTED,
            RegionVerdict.problem == "",
        )
        found.append((task, annotation, set(session.scalars(usable))))
    return found


def _refused(session: Session) -> set[int]:
    """Tasks whose last reviewer didn't approve."""
    last: dict[int, str] = {}
    for review in session.scalars(select(Review).order_by(Review.at, Review.event_id)):
        last[review.task_id] = review.decision
    return {task_id for task_id, decision in last.items() if decision != Decision.APPROVED}


def image_of(region: regions.Region, data: Mapping[str, Any], controls: Mapping[str, Any]) -> str:
    """The reference, in the task's data, of the image that a region lies on. Raises BadRequest."""
    inputs: Sequence[Mapping[str, Any]] = controls.get(region.get("from_name", ""), {}).get("inputs") or ()
    for field in [one.get("value") for one in inputs] or [region.get("to_name")]:
        if isinstance(reference := data.get(str(field)), str):
            return reference
    raise BadRequest(f"The task's data doesn't name the image of control {region.get('from_name')!r}.")


def read_sized(load: Callable[[str], Image], reference: str, size: ImageSize) -> Image:
    image = load(reference)
    if image.shape[:2] != size:
        raise BadRequest(
            f"{reference[:200]} has {image.shape[1]} x {image.shape[0]} pixels, but its masks have "
            f"{size.width} x {size.height}."
        )
    return image
