"""The masks that a project's people approved, out of the feedback store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from maskloop.errors import BadRequest, MaskloopError
from maskloop.evaluation.coco import GroundTruth
from maskloop.images import task_reference
from maskloop.learning import regions
from maskloop.learning.approved import approved
from maskloop.learning.dataset import ReviewedPhoto, ground_truth
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Project
from maskloop.sam.values import Image, ImageSize

Choose = Callable[[Sequence[regions.Region]], Sequence[regions.Region]]
"""Of the shapes of one annotation, those that are wanted."""


def outlines(found: Sequence[regions.Region]) -> list[regions.Region]:
    return [region for region in found if regions.is_outline(region)]


def from_reviews(
    store: FeedbackStore, project_id: int, load: Callable[[str], Image], choose: Choose = outlines
) -> tuple[list[ReviewedPhoto], dict[str, str]]:
    """Photos with the masks that were accepted, edited or added, the oldest task first, and by task and region why
    others can't be used.

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
            by_image: dict[tuple[str, int, int], list[GroundTruth]] = {}
            for region in choose([one for one in regions.shapes(annotation.result) if one["id"] in ids]):
                try:
                    reference = regions.image_of(region, task.data, project.controls)
                    image = task_reference(reference, task=task.id, project=project_id), *regions.size(region)
                    mask = regions.mask(region)
                except (regions.UnusableRegion, MaskloopError) as error:
                    problems[f"task {task.id}, region {region['id']}"] = str(error)
                    continue
                if mask.any():
                    by_image.setdefault(image, []).append(ground_truth(mask, regions.label(region) or ""))
            for (reference, height, width), objects in by_image.items():
                read = partial(read_sized, load, reference, ImageSize(height, width))
                photos.append(ReviewedPhoto(name_of(task.id), read, tuple(objects)))
    return photos, problems


def name_of(task_id: int) -> str:
    """Of a task's photos."""
    return f"task {task_id}"


def read_sized(load: Callable[[str], Image], reference: str, size: ImageSize) -> Image:
    image = load(reference)
    if image.shape[:2] != size:
        raise BadRequest(
            f"{reference[:200]} has {image.shape[1]} x {image.shape[0]} pixels, but its masks have "
            f"{size.width} x {size.height}."
        )
    return image
