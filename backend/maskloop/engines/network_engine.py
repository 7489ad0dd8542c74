"""What all engines share: images are framed, prompts become batches, answers come back in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from maskloop.engines.batches import Batches
from maskloop.engines.runtime import wants_memory
from maskloop.sam.preprocess import SQUARE, frame_of, to_frame
from maskloop.sam.prompts import PromptBatch, by_shape, stack
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, Image, ImageSize, MaskLogits, Prompt

Precision = Literal["fp32", "bf16"]
WANTED = {True: slice(1, None), False: slice(0, 1)}
"""Of a decoder's four masks, for multimask or not: see ``MobileSam.decoder``."""


class NetworkEngine(ABC):
    """An ``Engine``, given the two halves of the network. ``frames``: what of an image's square is encoded; what lies
    outside gets the features that it has in a square without an image. ``clicks_at_once``: how many gain from being
    decoded together. ``build``: another for each version and code that may answer otherwise with the same weights."""

    def __init__(
        self,
        name: str,
        identity: str,
        *,
        build: str,
        images_at_once: int,
        prompts_at_once: int,
        frames: Sequence[ImageSize],
        clicks_at_once: int = 1,
    ) -> None:
        self.name = name
        self.identity = identity
        self.build = build
        self.frames = frames
        self.note = ""
        self.clicks_at_once = clicks_at_once
        self.images = Batches(images_at_once, wants_memory)
        self.prompts = Batches(prompts_at_once, wants_memory)

    @abstractmethod
    def run_encoder(self, framed: NDArray[np.float32]) -> NDArray[np.float16]:
        """(N, H, W, 3), H and W those of a frame, to features (N, 256, H / 16, W / 16)."""

    @abstractmethod
    def run_decoder(
        self, features: Sequence[NDArray[np.float16]], batch: PromptBatch, *, multimask: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """N prompts to logits (N, M, 256, 256) and scores (N, M), M 3 if multimask, else 1: of a decoder's masks those
        that are ``WANTED``. features: (256, 64, 64), of the one image that all prompts are on, or N of them."""

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        sizes = [ImageSize(*image.shape[:2]) for image in images]
        embeddings: dict[int, Embedding] = {}
        for frame, indices in by_frame(sizes, self.frames).items():

            def work(images: Sequence[Image], frame: ImageSize = frame) -> list[NDArray[np.float16]]:
                return list(self.run_encoder(np.stack([to_frame(image, frame) for image in images])))

            features = self.images.run(work, [images[index] for index in indices])
            for index, one in zip(indices, features, strict=True):
                embeddings[index] = Embedding(self.completed(one), sizes[index])
        return [embeddings[index] for index in range(len(images))]

    @cached_property
    def blank(self) -> NDArray[np.float16]:
        """Features of a square without an image, (256, 64, 64)."""
        (features,) = self.run_encoder(np.zeros((1, *SQUARE, 3), np.float32))
        return features  # type: ignore[no-any-return]

    def completed(self, features: NDArray[np.float16]) -> NDArray[np.float16]:
        if features.shape == EMBEDDING_SHAPE:
            return features
        _, height, width = features.shape
        whole: NDArray[np.float16] = self.blank.copy()
        whole[:, :height, :width] = features
        return whole

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        return self.decode_each([embedding] * len(prompts), prompts, multimask=multimask)

    def decode_each(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompt], *, multimask: bool
    ) -> list[MaskLogits]:
        def work(indices: Sequence[int]) -> list[MaskLogits]:
            seen = [embeddings[index] for index in indices]
            one_image = all(embedding is seen[0] for embedding in seen)
            features = [embedding.features for embedding in (seen[:1] if one_image else seen)]
            batch = stack([prompts[index] for index in indices], [embedding.size for embedding in seen])
            answers = zip(seen, *self.run_decoder(features, batch, multimask=multimask), strict=True)
            return [MaskLogits(logits, scores, embedding.size) for embedding, logits, scores in answers]

        answers: dict[int, MaskLogits] = {}
        for indices in by_shape(prompts):
            answers.update(zip(indices, self.prompts.run(work, indices), strict=True))
        return [answers[index] for index in range(len(prompts))]


def by_frame(sizes: Sequence[ImageSize], frames: Sequence[ImageSize]) -> dict[ImageSize, list[int]]:
    """Which of the images share a frame."""
    found: dict[ImageSize, list[int]] = defaultdict(list)
    for index, size in enumerate(sizes):
        found[frame_of(size, frames)].append(index)
    return found
