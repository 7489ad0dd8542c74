"""The image encoder: TinyViT-5M as in MobileSAM.

TinyViT: https://arxiv.org/abs/2207.10666; MobileSAM: https://arxiv.org/abs/2306.14289. Attributes carry the names of
the official checkpoint's parameters. Convolutions see (N, C, H, W), attention (N, H, W, C); given an input that lies
in memory as (N, H, W, C), everything does, and the permutations between the two move no byte.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from maskloop.sam.layers import ChannelNorm, ConvNorm

WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
STRIDES = (2, 2, 1)
"""Between one stage and the next. The last is 1: the embedding keeps 64 x 64 positions."""


class Stem(nn.Module):
    """Two convolutions, to a quarter of the resolution."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, outputs // 2, 3, 2), nn.GELU(), ConvNorm(outputs // 2, outputs, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.seq(x)  # type: ignore[no-any-return]


class InvertedBottleneck(nn.Module):
    """Widen by four, convolve by channel, narrow; around it a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, 4 * width)
        self.conv2 = ConvNorm(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvNorm(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Downsample(nn.Module):
    """From one stage's width to the next's; halves the resolution if ``stride`` is 2."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))  # type: ignore[no-any-return]


class WindowAttention(nn.Module):
    """Attention among the positions of one window, with a learned bias for each pair's distance.

    The bias table is looked up in every pass. Cached, it would go stale when weights are loaded.
    """

    offsets: Tensor

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        rows, columns = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
        rows, columns = rows.flatten(), columns.flatten()
        offsets = (rows[:, None] - rows).abs() * window + (columns[:, None] - columns).abs()
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(windows, positions, width) to the same. ``qkv`` holds q, k and v of the first head, then of the next."""
        windows, positions, width = x.shape
        x = self.norm(x)
        weights = self.qkv.weight.view(self.heads, 3, -1, width).transpose(0, 1).reshape(3, width, width)
        biases = self.qkv.bias.view(self.heads, 3, -1).transpose(0, 1).reshape(3, width)
        q, k, v = (
            F.linear(x, weights[part], biases[part]).view(windows, positions, self.heads, -1).transpose(1, 2)
            for part in range(3)
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=self.attention_biases[:, self.offsets][None])
        return self.proj(attended.transpose(1, 2).reshape(windows, positions, width))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(self.norm(x))))  # type: ignore[no-any-return]


class WindowBlock(nn.Module):
    """Window attention, a convolution by channel that joins the windows, a perceptron; (N, H, W, C) in and out."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(x)
        x = channels_last(self.local_conv(channels_first(x)))
        positions = x.flatten(1, 2)
        return (positions + self.mlp(positions)).view_as(x)  # type: ignore[no-any-return]

    def attend(self, x: Tensor) -> Tensor:
        """Zeros pad the last windows to full size and take part in the attention, as in training."""
        batch, height, width, channels = x.shape
        window = self.window
        below, right = -height % window, -width % window
        down, across = (height + below) // window, (width + right) // window
        x = F.pad(x, (0, 0, 0, right, 0, below))
        x = x.reshape(batch, down, window, across, window * channels).transpose(2, 3)
        x = self.attn(x.reshape(-1, window * window, channels))
        x = x.view(batch, down, across, window, window * channels).transpose(2, 3)
        return x.reshape(batch, height + below, width + right, channels)[:, :height, :width]


class ConvStage(nn.Module):
    """Bottlenecks, then the way down; (N, C, H, W) in and out."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(InvertedBottleneck(WIDTHS[number]) for _ in range(DEPTHS[number])))
        self.downsample = downsample(number)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(self.blocks(x))  # type: ignore[no-any-return]


class AttentionStage(nn.Module):
    """Window blocks, then, except after the last, the way down; (N, C, H, W) in and out."""

    def __init__(self, number: int) -> None:
        super().__init__()
        width, heads, window = WIDTHS[number], HEADS[number], WINDOWS[number]
        self.blocks = nn.Sequential(*(WindowBlock(width, heads, window) for _ in range(DEPTHS[number])))
        self.downsample = downsample(number)

    def forward(self, x: Tensor) -> Tensor:
        return self.downsample(channels_first(self.blocks(channels_last(x))))  # type: ignore[no-any-return]


def channels_last(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def channels_first(x: Tensor) -> Tensor:
    """(N, H, W, C) to (N, C, H, W)."""
    return x.permute(0, 3, 1, 2)


def downsample(number: int) -> nn.Module:
    """What leads from a stage to the next; after the last, nothing."""
    if number == len(STRIDES):
        return nn.Identity()
    return Downsample(WIDTHS[number], WIDTHS[number + 1], STRIDES[number])


class ImageEncoder(nn.Module):
    """Float (N, H, W, 3), see ``preprocess``, to features (N, 256, H / 16, W / 16); H and W are multiples of 16.

    Trained with H = W = 1024.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = Stem(WIDTHS[0])
        self.layers = nn.Sequential(ConvStage(0), AttentionStage(1), AttentionStage(2), AttentionStage(3))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], 256, 1, bias=False),
            ChannelNorm(256),
            nn.Conv2d(256, 256, 3, padding=1, bias=False),
            ChannelNorm(256),
        )

    def forward(self, squares: Tensor) -> Tensor:
        return self.neck(self.layers(self.patch_embed(channels_first(squares))))  # type: ignore[no-any-return]
