"""What a mask costs that isn't the one a person meant, over the pixels of the image: the square's padding counts not.

Targets are soft: 0.4 where an object fills 40 % of a pixel of the logits. Dice loss with such targets wants full pixels
at the border, which makes a small object's mask too large, and focal loss as Segment Anything weighs it, a quarter for
the object, makes a large one's too small. The Jaccard metric loss, https://arxiv.org/abs/2302.05666, and a balanced
focal loss, https://arxiv.org/abs/1708.02002, are both least where the mask equals the target.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

FOCAL_WEIGHT = 10.0


def mask_loss(logits: Tensor, target: Tensor, inside: Tensor) -> Tensor:
    """10 x focal + Jaccard, (N, K), of logits (N, K, 256, 256) towards targets (N, 256, 256) between 0 and 1.

    inside: (256, 256), the share of each pixel that lies in the image.
    """
    wanted = target[:, None].expand_as(logits)
    chance = logits.sigmoid()
    surprise = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    distance = (chance - wanted).abs()
    focal = (distance**2 * surprise * inside).sum((2, 3)) / inside.sum()
    apart, both = (distance * inside).sum((2, 3)), (chance * inside).sum((2, 3)) + wanted.sum((2, 3))
    return FOCAL_WEIGHT * focal + 2 * apart / (both + apart + 1)


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
