"""What an embedding depends on, in one short hash."""

from __future__ import annotations

import hashlib

from maskloop.sam.network import MobileSam, weights_hash
from maskloop.sam.preprocess import PREPROCESSING


def embedding_identity(model: MobileSam, precision: str) -> str:
    """Hash of the encoder's weights, the preprocessing and the precision; the decoder may change beside it."""
    parts = (weights_hash(model.image_encoder), PREPROCESSING, precision)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]
