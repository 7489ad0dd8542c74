"""How objects look is found out once, with all the threads that the worker has."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from maskloop.learning.examples import Mask
from maskloop.learning.recognition import Recognition
from maskloop.sam.values import LOOKS_LENGTH, Image
from maskloop.settings import Settings

IMAGE = np.zeros((48, 64, 3), np.uint8)


class Describer:
    """Notes how many masks it was asked for, and PyTorch's threads meanwhile."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, _: Image, masks: Sequence[Mask]) -> np.ndarray:
        self.asked.append((len(masks), torch.get_num_threads()))
        return np.stack([np.full(LOOKS_LENGTH, mask.sum(), np.float32) for mask in masks])


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As OpenVINO's engine leaves it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_each_mask_is_described_once_and_with_all_threads(tmp_path: Path, one_thread: None) -> None:
    describer = Describer()
    masks = [np.arange(48 * 64).reshape(48, 64) < 10 * (number + 1) for number in range(3)]
    for recognition in (Recognition(Settings(data_dir=tmp_path, threads=2)) for _ in range(2)):  # two workers
        vars(recognition)["_describer"] = describer
        assert recognition.describe(IMAGE, masks[:2])[:, 0].tolist() == [10, 20]
        assert recognition.describe(IMAGE, masks)[:, 0].tolist() == [10, 20, 30]
    assert describer.asked == [(2, 2), (1, 2)]
    assert torch.get_num_threads() == 1
