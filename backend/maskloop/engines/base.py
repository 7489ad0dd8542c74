"""The one interface behind which the network runs, however it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from maskloop.sam.values import Embedding, Image, MaskLogits, Prompt


class Engine(Protocol):
    """Runs MobileSAM. Stateless to its callers: equal arguments give equal answers. Not thread-safe."""

    @property
    def name(self) -> str:
        """What runs, e.g. ``openvino-cpu-bf16`` or ``torch-cuda-bf16``; shown in ``/health`` and the log."""
        ...

    @property
    def note(self) -> str:
        """Why nothing faster runs, or not what was asked for; empty if all is well. Shown in ``/health``."""
        ...

    @property
    def identity(self) -> str:
        """Encoder weights, preprocessing and precision in one short hash: two engines with the same identity give
        interchangeable embeddings."""
        ...

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding for each image, in order."""
        ...

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        """One answer for each prompt, in order: three masks if ``multimask``, else one."""
        ...

    def decode_each(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompt], *, multimask: bool
    ) -> list[MaskLogits]:
        """The same for prompts on several images: an embedding for each prompt."""
        ...
