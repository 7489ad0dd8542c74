"""The values that the segmentation core takes and returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IMAGE_SIDE = 1024
"""Side of the square the encoder sees, pixels."""
EMBEDDING_SHAPE = (256, 64, 64)
LOGITS_SIDE = 256
"""Side of the square of mask logits that the decoder emits, pixels."""
LOOKS_PARTS = 4
LOOKS_LENGTH = 640
"""Numbers that tell what one object looks like, in parts of equal length; see ``appearance``."""

Image = NDArray[np.uint8]
"""RGB, uint8, (height, width, 3), upright (EXIF orientation applied as the editor shows it)."""


class ImageSize(NamedTuple):
    """Pixels of the original image."""

    height: int
    width: int


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What points at one object, in pixels of the original image (x to the right, y down).

    points: float32 (N, 2), xy; may be empty when there is a box or a mask.
    labels: int8 (N,); 1 is on the object, 0 is off it.
    box: float32 (4,), x0 y0 x1 y1, or None.
    mask_logits: float32 (256, 256), the low-resolution logits of an earlier answer for the same object, or None.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int8]
    box: NDArray[np.float32] | None = None
    mask_logits: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise ValueError(f"points must have shape (N, 2), not {self.points.shape}")
        if self.labels.shape != (len(self.points),):
            raise ValueError(f"{len(self.points)} points need as many labels, not {self.labels.shape}")
        if self.labels.size and not np.isin(self.labels, (0, 1)).all():
            raise ValueError("labels are 1 (on the object) or 0 (off it)")
        if self.box is not None and self.box.shape != (4,):
            raise ValueError(f"box must have shape (4,), not {self.box.shape}")
        if self.mask_logits is not None and self.mask_logits.shape != (LOGITS_SIDE, LOGITS_SIDE):
            raise ValueError(f"mask_logits must have shape (256, 256), not {self.mask_logits.shape}")
        if not len(self.points) and self.box is None and self.mask_logits is None:
            raise ValueError("a prompt needs a point, a box or a mask")


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What the encoder sees in one image: everything the decoder needs, and nothing else.

    features: float16 (256, 64, 64).
    size: of the original image, pixels; prompts are in its coordinates.
    """

    features: NDArray[np.float16]
    size: ImageSize


@dataclass(frozen=True, slots=True, eq=False)
class MaskLogits:
    """The decoder's answer to one prompt.

    logits: float32 (M, 256, 256) over the padded 1024 square; M is 3 (whole, part, subpart candidates) or 1.
    scores: float32 (M,), the IoU with the object that the model predicts, about 0 to 1.
    size: of the original image, pixels.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    size: ImageSize


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One object: ``pixels`` is bool (height, width) of the original image, ``score`` about 0 to 1."""

    pixels: NDArray[np.bool_]
    score: float
