"""The prompt encoder: points and earlier masks as vectors of 256. Segment Anything, https://arxiv.org/abs/2304.02643.

Attributes carry the names of the official checkpoint's parameters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from maskloop.sam.layers import ChannelNorm
from maskloop.sam.values import EMBEDDING_SHAPE, IMAGE_SIDE

CHANNELS, GRID, _ = EMBEDDING_SHAPE


class PositionEncoding(nn.Module):
    """Sines and cosines of random projections of a position (Fourier features, https://arxiv.org/abs/2006.10739)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(2, CHANNELS // 2))

    def forward(self, positions: Tensor) -> Tensor:
        """(..., 2), xy between 0 and 1, to (..., 256)."""
        angles = 2 * math.pi * ((2 * positions - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = PositionEncoding()
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, CHANNELS) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, CHANNELS)
        self.no_mask_embed = nn.Embedding(1, CHANNELS)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2),
            ChannelNorm(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, 2),
            ChannelNorm(16),
            nn.GELU(),
            nn.Conv2d(16, CHANNELS, 1),
        )

    def embed_points(self, points: Tensor, kinds: Tensor) -> Tensor:
        """Points (N, P, 2), xy in pixels of the square, and kinds (N, P), see ``prompts``, to (N, P, 256)."""
        by_kind = torch.cat([self.not_a_point_embed.weight, *self.point_embeddings.parameters()])
        placed: Tensor = self.pe_layer((points + 0.5) / IMAGE_SIDE)
        return placed * (kinds >= 0)[..., None] + by_kind[kinds + 1]

    def embed_masks(self, masks: Tensor | None) -> Tensor:
        """Logits (N, 256, 256) to what each position gets added, (N, 4096, 256); of no mask, (1, 1, 256)."""
        if masks is None:
            return self.no_mask_embed.weight[None]
        return self.mask_downscaling(masks[:, None]).flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def grid(self) -> Tensor:
        """The encoding of the embedding's positions, (4096, 256). Costs milliseconds: keep it while weights stay."""
        centres = (torch.arange(GRID, device=self.no_mask_embed.weight.device) + 0.5) / GRID
        rows, columns = torch.meshgrid(centres, centres, indexing="ij")
        return self.pe_layer(torch.stack([columns, rows], dim=-1)).flatten(0, 1)  # type: ignore[no-any-return]
