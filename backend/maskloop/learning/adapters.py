"""Low-rank adapters, https://arxiv.org/abs/2106.09685: the encoder learns with a hundredth of its weights.

To each linear layer's weight a product of two thin matrices is added, zero at first. In the end it is merged into the
weight, so that a version is plain weights and nothing else has to know of adapters.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    """A weight (outputs, inputs) plus ``up`` (outputs, rank) times ``down`` (rank, inputs)."""

    def __init__(self, weight: Tensor, rank: int, chance: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.down = nn.Parameter(torch.randn(rank, inputs, generator=chance) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def adapt(model: nn.Module, rank: int, seed: int) -> dict[str, nn.Parameter]:
    """Put an adapter on each linear layer, for ``merge`` to take off; gives their parameters by name.

    The model's own parameters are left as they are, without gradients.
    """
    chance = torch.Generator().manual_seed(seed)
    found: dict[str, nn.Parameter] = {}
    for name, layer in linear_layers(model):
        adapter = LowRank(layer.weight, rank, chance)
        parametrize.register_parametrization(layer, "weight", adapter)
        found |= {f"{name}.{part}": parameter for part, parameter in adapter.named_parameters()}
    return found


def merge(model: nn.Module) -> None:
    """Make each weight what its adapter made of it."""
    for _, layer in linear_layers(model):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)


def linear_layers(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """By name, in the model's order."""
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
