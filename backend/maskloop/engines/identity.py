"""What an embedding depends on, in one short hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from maskloop.sam.network import MobileSam, weights_hash
from maskloop.sam.preprocess import PREPROCESSING
from maskloop.sam.values import ImageSize


def embedding_identity(model: MobileSam, precision: str, frames: Sequence[ImageSize]) -> str:
    """Hash of the encoder's weights, the preprocessing and the precision; the decoder may change beside it."""
    parts = (weights_hash(model.image_encoder), PREPROCESSING, precision, *(f"{h}x{w}" for h, w in frames))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
