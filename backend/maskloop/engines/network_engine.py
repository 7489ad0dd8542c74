"""What all engines share: images become squares, prompts become batches, answers come back in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from maskloop.engines.batches import Batches
from maskloop.sam.preprocess import to_squares
from maskloop.sam.prompts import PromptBatch, by_shape, stack
from maskloop.sam.values import Embedding, Image, ImageSize, MaskLogits, Prompt

Precision = Literal["fp32", "bf16"]


class NetworkEngine(ABC):
    """An ``Engine``, given the two halves of the network."""

    def __init__(self, name: str, identity: str, *, images_at_once: int, prompts_at_once: int) -> None:
        self.name = name
        self.identity = identity
        self.note = ""
        self.images = Batches(images_at_once, torch.cuda.OutOfMemoryError)
        self.prompts = Batches(prompts_at_once, torch.cuda.OutOfMemoryError)

    @abstractmethod
    def run_encoder(self, squares: NDArray[np.float32]) -> NDArray[np.float16]:
        """Squares (N, 1024, 1024, 3) to features (N, 256, 64, 64)."""

    @abstractmethod
    def run_decoder(
        self, features: NDArray[np.float16], batch: PromptBatch
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Features (256, 64, 64) and N prompts to logits (N, 4, 256, 256) and scores (N, 4)."""

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        def work(images: Sequence[Image]) -> list[Embedding]:
            features = self.run_encoder(to_squares(images))
            return [Embedding(one, ImageSize(*image.shape[:2])) for one, image in zip(features, images, strict=True)]

        return self.images.run(work, images)

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        candidates = slice(1, None) if multimask else slice(0, 1)

        def work(prompts: Sequence[Prompt]) -> list[MaskLogits]:
            answers = zip(*self.run_decoder(embedding.features, stack(prompts, embedding.size)), strict=True)
            return [MaskLogits(logits[candidates], scores[candidates], embedding.size) for logits, scores in answers]

        answers: dict[int, MaskLogits] = {}
        for indices in by_shape(prompts):
            answered = self.prompts.run(work, [prompts[index] for index in indices])
            answers.update(zip(indices, answered, strict=True))
        return [answers[index] for index in range(len(prompts))]
