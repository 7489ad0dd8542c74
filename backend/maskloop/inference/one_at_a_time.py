"""An engine for several threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from maskloop.engines.base import Engine
from maskloop.sam.values import Embedding, Image, MaskLogits, Prompt


class OneAtATime:
    """The engine ``engine``, one call after the other. Between two calls of a long work, others get their turn."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.Lock()

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def identity(self) -> str:
        return self._engine.identity

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        with self._turn:
            return self._engine.encode(images)

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        with self._turn:
            return self._engine.decode(embedding, prompts, multimask=multimask)
