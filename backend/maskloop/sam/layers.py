"""Convolutions over (N, H, W, C), which is how all activations of the network lie in memory.

No layer here or elsewhere in the network keeps anything derived from its weights, and none acts differently in
training mode: ``train()``, ``eval()`` and loading, in whatever order, leave no stale value behind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conv(nn.Conv2d):
    """A convolution that keeps the resolution, or divides it by its stride: (N, H, W, C) to (N, H', W', C')."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, *, bias: bool) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if kernel % 2 else 0, groups=groups, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self, self.weight, self.bias)


class ConvNorm(nn.Module):
    """A convolution without bias and a batch normalisation with frozen statistics, run as one convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = Conv(inputs, outputs, kernel, stride, groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution."""
        assert self.bn.running_mean is not None
        assert self.bn.running_var is not None
        scale = self.bn.weight * torch.rsqrt(self.bn.running_var + self.bn.eps)
        return self.c.weight * scale[:, None, None, None], self.bn.bias - self.bn.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return convolve(x, self.c, *self.folded())


def convolve(x: Tensor, shape: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Tensor:
    x = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, shape.stride, shape.padding, groups=shape.groups)
    return x.permute(0, 2, 3, 1)


def fold(module: nn.Module) -> None:
    """Replace each ConvNorm in ``module`` by its one convolution, for good: to run, no longer to train or save."""
    for name, child in module.named_children():
        if isinstance(child, ConvNorm):
            weight, bias = (tensor.detach() for tensor in child.folded())
            child.c.weight, child.c.bias = nn.Parameter(weight), nn.Parameter(bias)
            setattr(module, name, child.c.requires_grad_(False))
        else:
            fold(child)
