"""MobileSAM's three parts, and how they are read from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from maskloop.errors import WeightsError
from maskloop.sam.decoder import MaskDecoder
from maskloop.sam.encoder import ImageEncoder
from maskloop.sam.prompt_encoder import PromptEncoder

CLASSIFIER = frozenset(
    f"image_encoder.{layer}.{part}" for layer in ("norm_head", "head") for part in ("weight", "bias")
)
"""What the official checkpoint holds besides: TinyViT's ImageNet classifier, which no mask needs."""


class MobileSam(nn.Module):
    """The network as trained: parameters under the official checkpoint's names.

    A trained version may have a second decoder, for prompts that get one mask: boxes, and further clicks. What a first
    click and those want to learn pulls one decoder to and fro.
    """

    def __init__(self, *, two_decoders: bool = False) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder()
        self.prompt_encoder = PromptEncoder()
        self.mask_decoder = MaskDecoder()
        self.single_mask_decoder = MaskDecoder() if two_decoders else None

    def decoder(self, *, multimask: bool) -> MaskDecoder:
        """That for prompts that get three masks, or for those that get one."""
        return self.mask_decoder if multimask or self.single_mask_decoder is None else self.single_mask_decoder


def load_model(path: Path) -> MobileSam:
    """The network with the weights of a state dict file: the official checkpoint, or one saved of ``MobileSam``.

    Nothing but tensors is unpickled. Raises WeightsError if the file can't be read or a tensor is missing, unknown
    or of another shape.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a malformed file raises whatever its bytes lead to
        raise WeightsError(f"{path} can't be read as weights: {error}") from error
    return from_state(state, str(path))


def from_state(state: Mapping[str, Any], source: str = "state dict") -> MobileSam:
    """The network with these weights, in eval mode; see ``load_model``."""
    model = MobileSam(two_decoders=any(name.startswith("single_mask_decoder.") for name in state))
    unused = CLASSIFIER & state.keys()
    try:
        model.load_state_dict({name: state[name] for name in state.keys() - unused}, strict=True, assign=True)
    except RuntimeError as error:
        raise WeightsError(f"{source} doesn't hold MobileSAM's weights: {error}") from error
    return model.requires_grad_(False).eval()


def weights_hash(part: nn.Module) -> str:
    """sha256 of the part's parameters and buffers, names and values, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(part.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
