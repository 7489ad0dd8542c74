"""All objects proposed for one image, compact enough to be cached beside its embedding."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from maskloop.geometry import boxes
from maskloop.sam.values import ImageSize, Mask


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Masks of one image, best score first, each kept as the bits inside its box, compressed.

    boxes: int32 (N, 4), x0 y0 x1 y1 in pixels, the far corner just outside.
    areas: int64 (N,), mask pixels.
    scores: float32 (N,), about 0 to 1.
    cutouts: N times zlib of the bits of the box's pixels in row order.
    size: of the image, pixels.
    """

    boxes: NDArray[np.int32]
    areas: NDArray[np.int64]
    scores: NDArray[np.float32]
    cutouts: tuple[bytes, ...]
    size: ImageSize

    @classmethod
    def of(cls, masks: Iterable[Mask], size: ImageSize) -> Self:
        """Proposals of these masks, empty ones left out; takes one mask at a time from an iterator."""
        found = sorted((_cut(mask) for mask in masks if mask.pixels.any()), key=lambda one: -one[2])
        return cls(
            np.array([box for box, _, _, _ in found], np.int32).reshape(-1, 4),
            np.array([area for _, area, _, _ in found], np.int64),
            np.array([score for _, _, score, _ in found], np.float32),
            tuple(bits for _, _, _, bits in found),
            size,
        )

    def __len__(self) -> int:
        return len(self.cutouts)

    def __iter__(self) -> Iterator[Mask]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Mask:
        """The mask at the image's size."""
        x0, y0, x1, y1 = self.boxes[index]
        pixels = np.zeros(self.size, bool)
        pixels[y0:y1, x0:x1] = self.cutout(index)
        return Mask(pixels, float(self.scores[index]))

    def chosen(self, indices: Sequence[int] | NDArray[np.intp]) -> Self:
        """These proposals, in this order."""
        cutouts = tuple(self.cutouts[index] for index in indices)
        return replace(
            self, boxes=self.boxes[indices], areas=self.areas[indices], scores=self.scores[indices], cutouts=cutouts
        )

    def cutout(self, index: int) -> NDArray[np.bool_]:
        """The mask inside its box."""
        x0, y0, x1, y1 = self.boxes[index]
        bits = np.frombuffer(zlib.decompress(self.cutouts[index]), np.uint8)
        return np.unpackbits(bits, count=(y1 - y0) * (x1 - x0)).reshape(y1 - y0, x1 - x0).view(bool)

    def to_bytes(self) -> bytes:
        """A NumPy archive (.npz) that ``from_bytes`` reads."""
        file = io.BytesIO()
        np.savez(
            file,
            boxes=self.boxes,
            areas=self.areas,
            scores=self.scores,
            size=np.array(self.size),
            lengths=np.array([len(bits) for bits in self.cutouts], np.int64),
            bits=np.frombuffer(b"".join(self.cutouts), np.uint8),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, archive: bytes) -> Self:
        """What ``to_bytes`` wrote. Raises ValueError if it is cut short or something else."""
        try:
            with np.load(io.BytesIO(archive), allow_pickle=False) as file:
                ends = np.cumsum(file["lengths"])
                bits = file["bits"].tobytes()
                cutouts = tuple(bits[end - length : end] for end, length in zip(ends, file["lengths"], strict=True))
                height, width = file["size"].tolist()
                proposals = cls(file["boxes"], file["areas"], file["scores"], cutouts, ImageSize(height, width))
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"not an archive of proposals: {error}") from error
        counts = {len(proposals.boxes), len(proposals.areas), len(proposals.scores), len(proposals)}
        if len(counts) > 1 or sum(map(len, cutouts)) != len(bits):
            raise ValueError("an archive of proposals whose parts don't fit")
        return proposals


def _cut(mask: Mask) -> tuple[tuple[int, int, int, int], int, float, bytes]:
    """Box, area, score and bits of a mask."""
    x0, y0, x1, y1 = box = boxes.of_mask(mask.pixels)
    cutout = mask.pixels[y0:y1, x0:x1]
    return box, int(np.count_nonzero(cutout)), mask.score, zlib.compress(np.packbits(cutout).tobytes(), 1)
