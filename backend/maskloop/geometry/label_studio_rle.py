"""Label Studio's brush format: a run-length code of a mask's RGBA bytes, row by row.

The bit stream is that of https://github.com/thi-ng/umbrella (packages/rle-pack): 32 bits number of bytes, 5 bits word
size - 1, four times 4 bits size of a run's length - 1; then runs: 1 bit whether one value repeats, 2 bits which size
the length has, the length - 1, and the value, or as many values as the length says.
``label_studio_sdk.converter.brush`` is the reference; :func:`encode` gives its bytes exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CHANNELS = 4
LENGTH_BITS = (3, 4, 8, 16)
"""Sizes that the encoder uses for a run's length."""
LONGEST_RUN = 1 << 16
HEADER_BITS = 32 + 5 + 4 * 4
WORD_BITS = 8


def encode(mask: NDArray[np.bool_]) -> list[int]:
    """A mask (H, W) as the bytes that Label Studio calls ``rle``; true pixels become 255 in all four channels."""
    lengths, values = _runs(np.ascontiguousarray(mask).view(np.uint8).ravel())
    kinds = np.searchsorted([1 << bits for bits in LENGTH_BITS[:3]], lengths)
    lengths, values, kinds = _split_long(lengths, values, kinds)
    length_bits = np.asarray(LENGTH_BITS)[kinds]
    codes = (((4 | kinds) << length_bits | (lengths - 1)) << WORD_BITS) | values * 255
    return list(_pack(_header(mask.size * CHANNELS), codes, 3 + length_bits + WORD_BITS).tobytes())


def decode(rle: Sequence[int] | bytes, height: int, width: int) -> NDArray[np.bool_]:
    """The mask (height, width) in ``rle``: the pixels that are more than half opaque.

    Takes what the encoder, the SDK and the editor write. Raises ValueError if it is damaged or of another size.
    """
    if height * width < 1:
        raise ValueError(f"{width} x {height} is no size for a mask")
    try:
        data = bytes(rle)
    except TypeError as error:
        raise ValueError("a brush RLE is a list of bytes") from error
    if len(data) < 7 or int.from_bytes(data[:4], "big") != height * width * CHANNELS:
        raise ValueError(f"the brush RLE isn't of a mask of {width} x {height} pixels")
    head = int.from_bytes(data[4:7], "big") >> 3
    if (head >> 16) + 1 != WORD_BITS:
        raise ValueError("the brush RLE isn't of 8-bit words")
    sizes = tuple((head >> shift & 15) + 1 for shift in (12, 8, 4, 0))
    alpha = _expand(data, sizes, height * width * CHANNELS)[CHANNELS - 1 :: CHANNELS]
    return alpha.reshape(height, width) > 127


def _runs(flat: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lengths in bytes of RGBA, and values 0 or 1, of the runs of a flat mask."""
    if not flat.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    ends = np.append(np.flatnonzero(flat[1:] != flat[:-1]) + 1, flat.size)
    return np.diff(ends, prepend=0) * CHANNELS, flat[ends - 1].astype(np.int64)


def _split_long(
    lengths: NDArray[np.int64], values: NDArray[np.int64], kinds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Runs of more than 65536 bytes as several, the last of which keeps the long form however short it is."""
    pieces = (lengths - 1) // LONGEST_RUN + 1
    if len(lengths) == pieces.sum():
        return lengths, values, kinds
    last = np.cumsum(pieces) - 1
    split = np.full(int(pieces.sum()), LONGEST_RUN, np.int64)
    split[last] = lengths - (pieces - 1) * LONGEST_RUN
    return split, np.repeat(values, pieces), np.repeat(kinds, pieces)


def _header(size: int) -> int:
    head = size << 5 | (WORD_BITS - 1)
    for bits in LENGTH_BITS:
        head = head << 4 | (bits - 1)
    return head


def _pack(header: int, codes: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The header's 53 bits, then ``sizes`` bits of each of ``codes``, then zeros: 1 to 8, as the SDK has it.

    No code has more than 27 bits, so it touches at most 5 bytes; none has less than 9, so no two begin in one byte.
    """
    ends = HEADER_BITS + np.cumsum(sizes)
    starts = ends - sizes
    bits = int(ends[-1]) if ends.size else HEADER_BITS
    packed = np.zeros(bits // 8 + 1 + 4, np.uint8)
    packed[:7] = np.frombuffer((header << 3).to_bytes(7, "big"), np.uint8)
    window = codes << (40 - sizes - starts % 8)
    for byte in range(5):
        packed[starts // 8 + byte] |= (window >> (32 - 8 * byte)).astype(np.uint8)
    return packed[: bits // 8 + 1]


def _expand(data: bytes, sizes: tuple[int, ...], total: int) -> NDArray[np.uint8]:
    """The ``total`` bytes whose runs follow the header in ``data``."""
    out = np.zeros(total, np.uint8)
    padded = np.frombuffer(data + bytes(8), np.uint8)
    last = len(data) * 8
    at, done = HEADER_BITS, 0
    while done < total:
        here = at >> 3
        window = int.from_bytes(data[here : here + 5].ljust(5, b"\0"), "big") << (at & 7) & 0xFF_FFFF_FFFF
        size = sizes[window >> 37 & 3]
        length = (window >> (37 - size) & ((1 << size) - 1)) + 1
        at += 3 + size
        stop = done + length
        if stop > total:
            raise ValueError("the brush RLE has more pixels than it says")
        if window >> 39:
            value = window >> (37 - size - WORD_BITS) & 255
            at += WORD_BITS
            if value:
                out[done:stop] = value
        else:
            here, shift = at >> 3, at & 7
            at += length * WORD_BITS
            if at <= last:
                words = padded[here : here + length + 1].astype(np.uint16)
                out[done:stop] = (words[:-1] << shift | words[1:] >> (8 - shift)) & 255
        if at > last:
            raise ValueError("the brush RLE is cut short")
        done = stop
    return out
