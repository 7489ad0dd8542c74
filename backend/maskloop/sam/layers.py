"""The layers that more than one part of the network is built of.

No layer here or elsewhere in the network keeps anything derived from its weights, and none acts differently in
training mode: ``train()``, ``eval()`` and loading, in whatever order, leave no stale value behind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNorm(nn.Module):
    """A convolution without bias and a batch normalisation with frozen statistics, run as one convolution.

    (N, C, H, W) to (N, C', H', W'), H' and W' being H and W divided by the stride.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution."""
        assert self.bn.running_mean is not None
        assert self.bn.running_var is not None
        scale = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        return self.c.weight * scale[:, None, None, None], self.bn.bias - self.bn.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.folded()
        return F.conv2d(x, weight, bias, self.c.stride, self.c.padding, groups=self.c.groups)


def fold(module: nn.Module) -> None:
    """Replace each ConvNorm in ``module`` by its one convolution, for good: to run, no longer to train or save."""
    for name, child in module.named_children():
        if isinstance(child, ConvNorm):
            weight, bias = (tensor.detach() for tensor in child.folded())
            child.c.weight, child.c.bias = nn.Parameter(weight), nn.Parameter(bias)
            setattr(module, name, child.c.requires_grad_(False))
        else:
            fold(child)
