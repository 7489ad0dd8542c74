"""MobileSAM run by PyTorch, on the CPU or an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from maskloop.engines.identity import embedding_identity
from maskloop.sam.layers import fold
from maskloop.sam.network import MobileSam
from maskloop.sam.preprocess import to_square
from maskloop.sam.prompts import PromptBatch, batches
from maskloop.sam.values import Embedding, Image, ImageSize, MaskLogits, Prompt

LARGEST_BATCH = 16
"""Prompts decoded at once; more gain nothing on a CPU."""


class TorchEngine:
    """Takes ``model`` over: its encoder can't be trained or saved afterwards."""

    def __init__(self, model: MobileSam, device: Literal["cpu", "cuda"] = "cpu") -> None:
        self.device = torch.device(device)
        self.name = f"torch-{device}-fp32"
        self.identity = embedding_identity(model, precision="fp32")
        fold(model.image_encoder)
        self.model = model.to(self.device)
        with torch.inference_mode():
            self.grid = self.model.prompt_encoder.grid()

    @torch.inference_mode()
    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        return [self.encode_one(image) for image in images]

    def encode_one(self, image: Image) -> Embedding:
        square = torch.from_numpy(to_square(image)).to(self.device)
        features = self.model.image_encoder(square[None])[0]
        return Embedding(features.to("cpu", torch.float16).contiguous().numpy(), ImageSize(*image.shape[:2]))

    @torch.inference_mode()
    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        features = torch.from_numpy(embedding.features).to(self.device, torch.float32).flatten(1).T[None]
        candidates = slice(1, None) if multimask else slice(0, 1)
        answers: dict[int, MaskLogits] = {}
        for batch in batches(prompts, embedding.size, LARGEST_BATCH):
            logits, scores = self.decode_batch(features, batch)
            for index, one, score in zip(batch.order, logits[:, candidates], scores[:, candidates], strict=True):
                answers[index] = MaskLogits(one, score, embedding.size)
        return [answers[index] for index in range(len(prompts))]

    def decode_batch(
        self, features: torch.Tensor, batch: PromptBatch
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        encoder = self.model.prompt_encoder
        points, kinds = (torch.from_numpy(array).to(self.device) for array in (batch.points, batch.kinds))
        masks = None if batch.masks is None else torch.from_numpy(batch.masks).to(self.device)
        logits, scores = self.model.mask_decoder(
            features + encoder.embed_masks(masks), self.grid, encoder.embed_points(points, kinds)
        )
        return logits.cpu().numpy(), scores.cpu().numpy()
