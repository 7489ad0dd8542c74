"""MobileSAM run by PyTorch, on the CPU or an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from maskloop.engines.identity import build_of, embedding_identity
from maskloop.engines.network_engine import WANTED, NetworkEngine, Precision
from maskloop.sam.layers import fold
from maskloop.sam.network import MobileSam
from maskloop.sam.preprocess import EXACT
from maskloop.sam.prompts import PromptBatch
from maskloop.sam.values import ImageSize

IMAGES_AT_ONCE = {"cpu": 1, "cuda": 16}
PROMPTS_AT_ONCE = {"cpu": 16, "cuda": 64}
CLICKS_AT_ONCE = {"cpu": 1, "cuda": 8}
"""More gain nothing."""


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch take so many meanwhile: beside an engine that isn't PyTorch's it is left one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchEngine(NetworkEngine):
    """``precision`` is the encoder's; the decoder runs in fp32. In fp32 and EXACT frames, it is the official network to
    the last digits. Takes ``model`` over, which can't be trained then."""

    def __init__(
        self,
        model: MobileSam,
        device: Literal["cpu", "cuda"] = "cpu",
        precision: Precision = "fp32",
        frames: Sequence[ImageSize] = EXACT,
    ) -> None:
        super().__init__(
            f"torch-{device}-{precision}",
            embedding_identity(model, precision, frames),
            build=build_of(f"PyTorch {torch.__version__}", NetworkEngine, TorchEngine),
            frames=frames,
            images_at_once=IMAGES_AT_ONCE[device],
            prompts_at_once=PROMPTS_AT_ONCE[device],
            clicks_at_once=CLICKS_AT_ONCE[device],
        )
        self.device = torch.device(device)
        self.precision = precision
        fold(model.image_encoder)
        self.model = model.to(self.device)
        with torch.inference_mode():
            self.grid = self.model.prompt_encoder.grid()

    @torch.inference_mode()
    def run_encoder(self, framed: NDArray[np.float32]) -> NDArray[np.float16]:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            features = self.model.image_encoder(self.here(framed))
        return features.to("cpu", torch.float16).contiguous().numpy()  # type: ignore[no-any-return]

    @torch.inference_mode()
    def run_decoder(
        self, features: Sequence[NDArray[np.float16]], batch: PromptBatch, *, multimask: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        encoder = self.model.prompt_encoder
        points = encoder.embed_points(self.here(batch.points), self.here(batch.kinds))
        masks = encoder.embed_masks(None if batch.masks is None else self.here(batch.masks))
        pixels = torch.stack([self.here(one) for one in features]).float().flatten(2).mT + masks
        logits, scores = self.model.decoder(multimask=multimask)(pixels, self.grid, points)
        wanted = WANTED[multimask]
        return logits[:, wanted].cpu().numpy(), scores[:, wanted].cpu().numpy()

    def here(self, array: NDArray[np.generic]) -> torch.Tensor:
        """The array on the engine's device; torch wants it writable, a cached embedding may not be."""
        return torch.from_numpy(array if array.flags.writeable else array.copy()).to(self.device)
