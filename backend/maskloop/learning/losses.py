"""What a mask costs that isn't the one a person meant.

Focal loss, https://arxiv.org/abs/1708.02002, and dice loss, https://arxiv.org/abs/1606.04797, in Segment Anything's
proportion of 20 to 1, over the pixels of the image: the square's padding counts for nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT = 20.0
FOCUS = 2.0
POSITIVE_SHARE = 0.25


def mask_loss(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """20 x focal + dice, (N, K), of logits (N, K, 256, 256) towards targets (N, 256, 256) between 0 and 1.

    inside: (256, 256), the share of each pixel that lies in the image.
    """
    wanted = target[:, None].expand_as(logits)
    chance = logits.sigmoid()
    surprise = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    right = chance * wanted + (1 - chance) * (1 - wanted)
    balance = wanted * POSITIVE_SHARE + (1 - wanted) * (1 - POSITIVE_SHARE)
    focal = ((1 - right) ** FOCUS * surprise * balance * inside).sum((2, 3)) / inside.sum()
    chance = chance * inside
    overlap, total = (chance * wanted).sum((2, 3)), chance.sum((2, 3)) + wanted.sum((2, 3))
    return FOCAL_WEIGHT * focal + 1 - (2 * overlap + 1) / (total + 1)


@torch.no_grad()
def true_iou(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """IoU (N, K) of the masks that logits (N, K, 256, 256) give, with the targets (N, 256, 256)."""
    given, wanted = (logits > 0) & (inside > 0.5), target[:, None] > 0.5
    return (given & wanted).sum((2, 3)) / (given | wanted).sum((2, 3)).clamp(min=1)


def divergence(logits: Tensor, teacher: Tensor, inside: Tensor) -> Tensor:
    """How far logits (N, K, 256, 256) are from the teacher's, (N, K): Kullback-Leibler, the mean of the pixels."""
    wanted = teacher.sigmoid()
    cross = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    own = F.binary_cross_entropy_with_logits(teacher, wanted, reduction="none")
    return ((cross - own) * inside).sum((2, 3)) / inside.sum()
