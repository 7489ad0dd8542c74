"""From a file's bytes to upright RGB, as a browser shows the picture: that is what the annotator clicked on.

What Label Studio's editor does was looked at in Label Studio 1.23.2 with Chromium 156: ``original_width`` and
``original_height`` are those of the image as shown, turned by the EXIF orientation for all of its eight values;
``image_rotation`` stays 0, and percentages are of the turned image. Chromium reads the orientation from EXIF in JPEG,
PNG and AVIF; it ignores EXIF in WebP, and orientation written in XMP.
"""

from __future__ import annotations

import io
import re
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from maskloop.errors import ImageUnreadable
from maskloop.sam.values import Image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "DIB", "TIFF", "JPEG2000", "PPM")
"""What is decoded. Not among them: formats that run an interpreter (EPS), that say one size and hold another (ICO)."""
SUFFIXES = frozenset(suffix for suffix, name in Pillow.registered_extensions().items() if name in FORMATS)
"""Of the files that hold them."""
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
SCAN = b"\xff\xda\x00"
"""Begins each scan of a JPEG, and stands nowhere in its coded pixels (ITU-T T.81, section B.2.3)."""
MAX_SCANS = 100
"""Of one JPEG. Each goes over all its pixels, however few bytes it has; progressive ones are written with about ten."""
ORIENTATION = 274
"""EXIF and TIFF tag."""
TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""What makes an image of each orientation upright (EXIF 2.3, section 4.6.4)."""

# Pillow's own limit is one for the whole process, and not the one of the settings, which is checked below.
Pillow.MAX_IMAGE_PIXELS = None


def decode(data: bytes, *, max_pixels: int, name: str = "The image", upright: bool = True) -> Image:
    """The picture in ``data``: the first page or frame, uint8 RGB (height, width, 3); as stored if not ``upright``.

    Transparent parts are white, as on the editor's page. Gray of 16 bits: in PNG the upper eight, as browsers do;
    in formats that browsers don't show (TIFF, also 32 bits and floating point), the range from the least to the
    greatest value becomes 0 to 255.

    Raises ImageUnreadable if ``data`` is empty, no image of a known format, cut short, a JPEG of more than
    ``MAX_SCANS``, or of more than ``max_pixels``, which is known before any pixel is decoded. ``name`` begins the
    message.
    """
    if not data:
        raise ImageUnreadable(f"{name} is empty: it has no bytes.")
    if data.startswith(b"\xff\xd8") and (scans := data.count(SCAN)) > MAX_SCANS:
        raise ImageUnreadable(
            f"{name} is a JPEG of {scans} scans.",
            f"At most {MAX_SCANS} are decoded: save it without progression.",
        )
    try:
        picture = Pillow.open(io.BytesIO(data), formats=FORMATS)
        if picture.width * picture.height <= max_pixels:
            picture.load()
    except UnidentifiedImageError as error:
        known = "SVG can't be segmented" if re.match(rb"\s*<(\?xml|svg)", data[:64]) else "no image of a known format"
        raise ImageUnreadable(f"{name}: {known}.") from error
    except MemoryError as error:
        raise ImageUnreadable(f"{name} doesn't fit into this machine's memory.") from error
    except Exception as error:  # the decoders raise whatever hostile bytes lead them to
        raise ImageUnreadable(f"{name} is damaged: {error}.") from error
    if picture.width * picture.height > max_pixels:
        raise ImageUnreadable(
            f"{name} has {picture.width} x {picture.height} pixels.",
            f"At most {max_pixels} are decoded; the limit is MASKLOOP_MAX_IMAGE_PIXELS.",
        )
    turn = TURNS.get(orientation(picture)) if upright else None
    return to_rgb(picture.transpose(turn) if turn is not None else picture, stretch=picture.format != "PNG")


def to_rgb(picture: Pillow.Image, *, stretch: bool) -> Image:
    """uint8 RGB; over white where it is transparent. ``stretch``: gray of more than 8 bits from its least to its
    greatest value, else the upper eight of its 16 bits."""
    if picture.mode in DEEP_MODES:
        gray = np.asarray(picture)
        shown = stretched(gray) if stretch else (gray >> 8).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(shown[..., None], (*shown.shape, 3)))
    if picture.has_transparency_data:
        white = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(white, picture.convert("RGBA"))
    return np.asarray(picture if picture.mode == "RGB" else picture.convert("RGB"))


def stretched(gray: NDArray[np.generic]) -> NDArray[np.uint8]:
    """``gray`` scaled so that its least finite value becomes 0 and its greatest 255; what isn't finite becomes 0."""
    values = np.asarray(gray, dtype=np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    scaled = np.where(finite, values - low, 0.0) * (255.0 / (high - low) if high > low else 0.0)
    return np.rint(scaled).astype(np.uint8)


def orientation(picture: Pillow.Image) -> int:
    """The EXIF orientation that a browser would honour, 1 to 8; 1, upright, where there is none or nonsense."""
    if picture.format == "WEBP":
        return 1
    try:
        if picture.format == "TIFF":
            return int(getattr(picture, "tag_v2", {}).get(ORIENTATION, 1))
        exif = Pillow.Exif()
        exif.load(picture.info.get("exif", b""))
        return int(exif.get(ORIENTATION, 1))
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return 1
