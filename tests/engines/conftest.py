"""Engines on random weights: what they share holds for any."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskloop.sam.network import MobileSam


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights of likely sizes; what starts as all zeros or ones differs from that."""
    torch.manual_seed(0)
    state = MobileSam().state_dict()
    for tensor in state.values():
        if tensor.is_floating_point() and (tensor == tensor.flatten()[0]).all():
            tensor += torch.rand_like(tensor)
    state["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"].normal_()
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    torch.save(state, path)
    return path


@pytest.fixture(scope="session")
def converted_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the random network is kept once OpenVINO has it."""
    return tmp_path_factory.mktemp("converted")
