"""A fixed set of objects, beside every project's own, on which a candidate must not get worse.

Photos that scikit-image carries too (NOTICE says whose they are), with the official model's masks of the objects in
them: see ``make``. So what is measured is agreement with the official model where it is sure of itself.
"""

from __future__ import annotations

from pathlib import Path

from maskloop.learning.dataset import ReviewedPhoto, from_coco

FOLDER = Path(__file__).parent
ANNOTATIONS = FOLDER / "instances.json"


def general_set() -> list[ReviewedPhoto]:
    """The photos and their objects."""
    return from_coco(FOLDER, ANNOTATIONS)
