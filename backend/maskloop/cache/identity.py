"""What a cached value depends on, as one name."""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from maskloop.sam.values import Image


def image_identity(image: Image) -> str:
    """sha256 over the size and the pixels, hexadecimal: equal for equal pictures, however they are stored."""
    name = hashlib.sha256(struct.pack("<II", *image.shape[:2]))
    name.update(np.ascontiguousarray(image).data)
    return name.hexdigest()


def joint_identity(*parts: str) -> str:
    """The identity of what is computed from all of ``parts``, in their order: sha256, hexadecimal."""
    name = hashlib.sha256()
    for part in parts:
        data = part.encode()
        name.update(struct.pack("<Q", len(data)))
        name.update(data)
    return name.hexdigest()
