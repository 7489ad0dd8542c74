"""A folder in; COCO, YOLO or Label Studio files out.

>>> from maskloop.annotate import Annotator, save_coco
>>> photos = Annotator().annotate("photos")  # doctest: +SKIP
>>> save_coco(photos, "annotations.json")  # doctest: +SKIP
"""

from maskloop.annotate.annotator import Annotations, Annotator
from maskloop.annotate.formats import save_coco, save_label_studio, save_yolo
from maskloop.annotate.values import Annotated, Segment, Skipped, Source

__all__ = [
    "Annotated",
    "Annotations",
    "Annotator",
    "Segment",
    "Skipped",
    "Source",
    "save_coco",
    "save_label_studio",
    "save_yolo",
]
