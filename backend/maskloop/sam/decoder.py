"""The mask decoder: a two-way transformer between a prompt's few tokens and the image's 4096 positions.

Segment Anything, https://arxiv.org/abs/2304.02643, computed in a cheaper order that gives the same result:

* Attention between T tokens and 4096 positions needs positions x weights products only because the positions are
  projected first. Associativity allows to project the tokens instead: (W_k p) . q = p . (W_k^T q), and
  sum(a W_v p) = W_v sum(a p). With 8 heads and 7 tokens that is less than half of the work.
* What all prompts on one image share, the first layer's positions, is neither repeated nor recomputed for each.
* A transposed convolution whose kernel equals its stride is a matrix product; the pixels are put in order once, at
  the end, when four numbers are left of each.

Attributes carry the names of the official checkpoint's parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskloop.sam.values import EMBEDDING_SHAPE, LOGITS_SIDE

CHANNELS, GRID, _ = EMBEDDING_SHAPE
HEADS = 8
MASKS = 4
"""One for prompts without ambiguity, then three: whole, part, subpart."""


class Attention(nn.Module):
    """The weights of multi-head attention, with the three ways in which the decoder uses them."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, inner)
        self.k_proj = nn.Linear(CHANNELS, inner)
        self.v_proj = nn.Linear(CHANNELS, inner)
        self.out_proj = nn.Linear(inner, CHANNELS)
        self.scale = (inner // HEADS) ** -0.5

    def among_tokens(self, queries_keys: Tensor, values: Tensor) -> Tensor:
        """Tokens attend to tokens: (N, T, 256) to the same."""
        q, k, v = (split(x) for x in (self.q_proj(queries_keys), self.k_proj(queries_keys), self.v_proj(values)))
        return self.out_proj(join(F.scaled_dot_product_attention(q, k, v)))  # type: ignore[no-any-return]

    def to_positions(self, tokens: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Tokens (N, T, 256) attend to positions, keys and values (N or 1, 4096, 256); gives (N, T, 256).

        A bias of the keys adds the same to all of a token's scores, which softmax takes out again.
        """
        batch, count, _ = tokens.shape
        queries = split(self.q_proj(tokens)) * self.scale @ by_head(self.k_proj.weight)
        scores = queries.reshape(batch, HEADS * count, CHANNELS) @ keys.transpose(1, 2)
        weights = (scores - scores.amax(dim=-1, keepdim=True).detach()).exp()
        pooled = (weights @ values / weights.sum(dim=-1, keepdim=True)).view(batch, HEADS, count, CHANNELS)
        attended = join(pooled @ by_head(self.v_proj.weight).transpose(1, 2)) + self.v_proj.bias
        return self.out_proj(attended)  # type: ignore[no-any-return]

    def from_positions(self, positions: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Positions (N or 1, 4096, 256) attend to tokens, keys and values (N, T, 256); gives (N, 4096, 256)."""
        batch, count, _ = keys.shape
        k, v = split(self.k_proj(keys)) * self.scale, split(self.v_proj(values))
        directions = (k @ by_head(self.q_proj.weight)).reshape(batch, HEADS * count, CHANNELS)
        offsets = (k @ by_head(self.q_proj.bias)).reshape(batch, HEADS * count, 1)
        scores = directions @ positions.transpose(1, 2) + offsets
        weights = scores.view(batch, HEADS, count, -1).softmax(dim=2).view(batch, HEADS * count, -1)
        outputs = v @ self.out_proj.weight.view(CHANNELS, HEADS, -1).permute(1, 2, 0)
        seen: Tensor = weights.transpose(1, 2) @ outputs.reshape(batch, HEADS * count, CHANNELS)
        return seen + self.out_proj.bias


def split(x: Tensor) -> Tensor:
    """(N, T, inner) to (N, heads, T, inner / heads)."""
    return x.view(*x.shape[:2], HEADS, -1).transpose(1, 2)


def join(x: Tensor) -> Tensor:
    """(N, heads, T, inner / heads) to (N, T, inner)."""
    return x.transpose(1, 2).flatten(2)


def by_head(weight: Tensor) -> Tensor:
    """A projection's weight (inner, 256) as (heads, inner / heads, 256), its bias as (heads, inner / heads, 1)."""
    return weight.view(HEADS, weight.shape[0] // HEADS, -1)


class TokenMlp(nn.Module):
    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(CHANNELS, hidden)
        self.lin2 = nn.Linear(hidden, CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.lin2(F.relu(self.lin1(x)))  # type: ignore[no-any-return]


class TwoWayLayer(nn.Module):
    """Tokens among themselves, tokens to positions, a perceptron on the tokens, positions to tokens."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(CHANNELS)
        self.cross_attn_token_to_image = Attention(CHANNELS // 2)
        self.mlp = TokenMlp(2048)
        self.cross_attn_image_to_token = Attention(CHANNELS // 2)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(CHANNELS) for _ in range(4))

    def forward(self, tokens: Tensor, prompt: Tensor, pixels: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        """``prompt`` and ``grid`` tell where tokens and pixels are; tokens (N, T, 256), pixels (N or 1, 4096, 256)."""
        if self.first:  # the tokens are the prompt itself: no residual, nothing to add
            tokens = self.norm1(self.self_attn.among_tokens(tokens, tokens))
        else:
            tokens = self.norm1(tokens + self.self_attn.among_tokens(tokens + prompt, tokens))
        placed = pixels + grid
        tokens = self.norm2(tokens + self.cross_attn_token_to_image.to_positions(tokens + prompt, placed, pixels))
        tokens = self.norm3(tokens + self.mlp(tokens))
        seen = self.cross_attn_image_to_token.from_positions(placed, tokens + prompt, tokens)
        return tokens, self.norm4(pixels + seen)


class TwoWayTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TwoWayLayer(first=True), TwoWayLayer(first=False)])
        self.final_attn_token_to_image = Attention(CHANNELS // 2)
        self.norm_final_attn = nn.LayerNorm(CHANNELS)

    def forward(self, prompt: Tensor, pixels: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
        tokens = prompt
        for layer in self.layers:
            tokens, pixels = layer(tokens, prompt, pixels, grid)
        attended = self.final_attn_token_to_image.to_positions(tokens + prompt, pixels + grid, pixels)
        return self.norm_final_attn(tokens + attended), pixels


class Mlp(nn.Module):
    """Three linear layers with ReLU between them."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        sizes = [(CHANNELS, CHANNELS), (CHANNELS, CHANNELS), (CHANNELS, outputs)]
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in sizes)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = self.layers
        return third(F.relu(second(F.relu(first(x)))))  # type: ignore[no-any-return]


class MaskMlps(nn.ModuleList):
    """One perceptron for each mask, run side by side."""

    def __init__(self, outputs: int) -> None:
        super().__init__(Mlp(outputs) for _ in range(MASKS))

    def forward(self, x: Tensor) -> Tensor:
        """(N, masks, 256), one row for each perceptron, to (N, masks, outputs)."""
        x = x.transpose(0, 1)
        for level, layers in enumerate(zip(*(mlp.layers for mlp in self), strict=True)):
            weights, biases = (torch.stack([getattr(layer, part) for layer in layers]) for part in ("weight", "bias"))
            x = torch.baddbmm(biases[:, None], F.relu(x) if level else x, weights.transpose(1, 2))
        return x.transpose(0, 1)


class Upscaling(nn.Sequential):
    """Each of the 4096 positions to its 16 pixels, 32 channels each: (N, 4096, 256) to (N, 4096 * 16, 32).

    The pixels of a position stay together: row in its 2 x 2, column in it, row in the 2 x 2 of that, column.
    """

    def __init__(self) -> None:
        super().__init__(
            nn.ConvTranspose2d(CHANNELS, CHANNELS // 4, 2, 2),
            nn.LayerNorm(CHANNELS // 4, eps=1e-6),
            nn.GELU(),
            nn.ConvTranspose2d(CHANNELS // 4, CHANNELS // 8, 2, 2),
            nn.GELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        double, norm, activation, redouble, last_activation = self
        return last_activation(spread(activation(norm(spread(x, double))), redouble))  # type: ignore[no-any-return]


def spread(x: Tensor, convolution: nn.Module) -> Tensor:
    """Apply a transposed convolution, kernel and stride 2, to each pixel: (N, P, C) to (N, 4 P, C')."""
    assert isinstance(convolution, nn.ConvTranspose2d)
    assert convolution.bias is not None
    weight = convolution.weight.permute(2, 3, 1, 0).reshape(-1, convolution.in_channels)
    return F.linear(x, weight, convolution.bias.repeat(4)).view(x.shape[0], -1, convolution.out_channels)


class MaskDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token = nn.Embedding(1, CHANNELS)
        self.mask_tokens = nn.Embedding(MASKS, CHANNELS)
        self.output_upscaling = Upscaling()
        self.output_hypernetworks_mlps = MaskMlps(CHANNELS // 8)
        self.iou_prediction_head = Mlp(MASKS)

    def forward(self, pixels: Tensor, grid: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        """Masks for N prompts on one image.

        pixels: (N or 1, 4096, 256), the image's embedding plus ``PromptEncoder.embed_masks``; 1 if no prompt has one.
        grid: (4096, 256), ``PromptEncoder.grid``.
        points: (N, P, 256), ``PromptEncoder.embed_points``.
        Gives logits (N, 4, 256, 256) and scores (N, 4): the mask for unambiguous prompts, then the three.
        """
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        prompt = torch.cat([own.expand(points.shape[0], -1, -1), points], dim=1)
        tokens, pixels = self.transformer(prompt, pixels, grid)
        filters = self.output_hypernetworks_mlps(tokens[:, 1 : 1 + MASKS])
        nested = self.output_upscaling(pixels) @ filters.transpose(1, 2)
        logits = nested.view(-1, GRID, GRID, 2, 2, 2, 2, MASKS).permute(0, 7, 1, 3, 5, 2, 4, 6)
        return logits.reshape(-1, MASKS, LOGITS_SIDE, LOGITS_SIDE), self.iou_prediction_head(tokens[:, 0])
