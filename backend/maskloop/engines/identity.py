"""What embeddings and answers depend on, in short hashes."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Sequence

from maskloop.sam.decoder import MaskDecoder
from maskloop.sam.encoder import ImageEncoder
from maskloop.sam.layers import ConvNorm
from maskloop.sam.network import MobileSam, weights_hash
from maskloop.sam.preprocess import PREPROCESSING
from maskloop.sam.prompt_encoder import PromptEncoder
from maskloop.sam.values import ImageSize

NETWORK = ImageEncoder, PromptEncoder, MaskDecoder, ConvNorm
"""The modules of these decide what is computed."""


def embedding_identity(model: MobileSam, precision: str, frames: Sequence[ImageSize]) -> str:
    """Hash of the encoder's weights, the preprocessing and the precision; the decoder may change beside it."""
    parts = (weights_hash(model.image_encoder), PREPROCESSING, precision, *(f"{h}x{w}" for h, w in frames))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def build_of(version: str, *more: type) -> str:
    """Hash of what runs the network, in its ``version``, and of the source of the network and of ``more``."""
    modules = {sys.modules[part.__module__] for part in (*NETWORK, *more)}
    source = "".join(sorted(inspect.getsource(module) for module in modules))
    return hashlib.sha256((version + source).encode()).hexdigest()[:16]
