"""What the core asks of whatever runs the network; ``engines.base.Engine`` is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from maskloop.sam.values import Embedding, Image, MaskLogits, Prompt

Classify = Callable[[Image, Sequence[NDArray[np.bool_]]], Sequence[str | None]]
"""The class of each mask of an image, bool (H, W); None if unsure."""


class Decoder(Protocol):
    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        """One answer for each prompt, in order: three masks if ``multimask``, else one."""
        ...


class EncoderDecoder(Decoder, Protocol):
    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding for each image, in order."""
        ...
