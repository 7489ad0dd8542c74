"""Pictures to look at: the segments drawn on their photo."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable

import cv2
import numpy as np

from maskloop.annotate.output import Output
from maskloop.annotate.sources import read
from maskloop.annotate.values import Annotated, Skipped
from maskloop.errors import MaskloopError
from maskloop.images.decode import decode
from maskloop.sam.values import Image

LONGEST_SIDE = 1600
"""Pixels; larger photos are shown smaller."""
GOLDEN = 0.618034
"""Step around the colour circle that keeps neighbours apart."""


def overlay(image: Image, photo: Annotated) -> Image:
    """``image`` with each segment in a colour of its own, the smallest on top."""
    scale = min(1.0, LONGEST_SIDE / max(photo.size))
    size = (max(1, round(photo.size.width * scale)), max(1, round(photo.size.height * scale)))
    drawn = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for number, segment in enumerate(sorted(photo.segments, key=lambda each: -each.area)):
        colour = np.array(colorsys.hsv_to_rgb(number * GOLDEN % 1, 0.9, 1.0)) * 255
        mask = cv2.resize(segment.pixels(photo.size).view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        inside = mask.view(bool)
        drawn[inside] = (drawn[inside] * 0.55 + colour * 0.45).astype(np.uint8)
        outline, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outline, -1, colour.tolist(), 1)
    return drawn


def png(image: Image) -> bytes:
    """``image`` as a PNG file."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return encoded.tobytes()


def write_previews(
    output: Output, folder: str, photos: Iterable[Annotated], *, max_bytes: int, max_pixels: int
) -> list[Skipped]:
    """A PNG for each photo; returns those that can't be read any more. Raises AnnotateError if it can't be written."""
    skipped = []
    for photo in photos:
        try:
            image = decode(read(photo.source.reference, max_bytes), max_pixels=max_pixels)
        except MaskloopError as error:
            skipped.append(Skipped(photo.source.reference, f"No preview: {error}"))
        else:
            output.write(f"{folder}/{photo.source.name}.png", [png(overlay(image, photo))])
    return skipped
