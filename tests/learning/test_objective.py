"""What a training wants of the network for one photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskloop.learning.lessons import Lesson
from maskloop.learning.objective import Objective, Prompts, View
from maskloop.learning.samples import Sample, Seen, prepare
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.network import MobileSam
from maskloop.sam.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NOT_A_POINT, ON_OBJECT
from maskloop.sam.values import LOGITS_SIDE, Embedding, ImageSize

SETTINGS = TrainingSettings(precision="fp32", refining_share=0, box_share=0, distilling_share=0)
TRUTH = torch.zeros(1, LOGITS_SIDE, LOGITS_SIDE)
TRUTH[:, 40:80, 40:80] = 1
VIEW = View(torch.zeros(4096, 256), torch.zeros(4096, 256), torch.ones(LOGITS_SIDE, LOGITS_SIDE), TRUTH)


class Watched(Objective):
    """Keeps what the network was asked, and what it answered."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[tuple[Prompts, Tensor, Tensor]] = []

    def decode(self, decoder: Mapping[str, Tensor], view: View, prompts: Prompts) -> tuple[Tensor, Tensor]:
        logits, scores = super().decode(decoder, view, prompts)
        self.seen.append((prompts, logits, scores))
        return logits, scores


@pytest.fixture(scope="module")
def network() -> MobileSam:
    """Untrained."""
    torch.manual_seed(0)
    model = MobileSam()
    model.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix.normal_()
    return model.eval()


@pytest.fixture(scope="module")
def make(network: MobileSam) -> Callable[..., Watched]:
    def make(**settings: object) -> Watched:
        wanted = SETTINGS.model_copy(update=settings)
        return Watched(network, deepcopy(network.mask_decoder), wanted, torch.device("cpu"))

    return make


@pytest.fixture(scope="module")
def sample() -> Sample:
    """A wide photo: the lower part of the network's square is empty."""
    mask = np.zeros((60, 120), bool)
    mask[10:40, 20:70] = True
    features = np.random.default_rng(0).normal(size=(256, 64, 64)).astype(np.float16)
    return prepare(Seen(Embedding(features, ImageSize(60, 120))), [mask], 0)


def answers(*sides: float) -> Tensor:
    """A mask for each, sure of a square of that side; the person's has 40."""
    logits = torch.full((1, len(sides), LOGITS_SIDE, LOGITS_SIDE), -4.0)
    for number, side in enumerate(sides):
        logits[:, number, 40 : 40 + int(side), 40 : 40 + int(side)] = 4.0
    return logits.requires_grad_()


def moved(tensor: Tensor) -> list[bool]:
    assert tensor.grad is not None
    return [bool(part.abs().max() > 1e-9) for part in tensor.grad[0]]


def test_the_nearest_mask_learns_and_the_one_that_would_be_chosen(make: Callable[..., Watched]) -> None:
    logits = answers(36, 10, 20)
    make(choice_weight=0).ambiguous_loss(logits, torch.tensor([[0.1, 9.0, 0.1]]), VIEW).backward()
    assert moved(logits) == [True, True, False]


def test_a_score_learns_the_iou_of_its_mask(make: Callable[..., Watched]) -> None:
    scores = torch.tensor([[0.3, 1.0, 1.5]], requires_grad=True)
    make().ambiguous_loss(answers(40, 40, 40), scores, VIEW).backward()
    assert scores.grad is not None
    assert scores.grad[0].sign().tolist() == [-1, 0, 1]


def test_right_scores_still_learn_to_put_the_best_mask_first(make: Callable[..., Watched]) -> None:
    scores = torch.tensor([[1.0, 0.25, 0.25]], requires_grad=True)
    make().ambiguous_loss(answers(40, 20, 20), scores, VIEW).backward()
    assert scores.grad is not None
    assert scores.grad[0].sign().tolist() == [-1, 1, 1]


def test_a_score_without_ambiguity_learns_it_too(make: Callable[..., Watched]) -> None:
    scores = torch.tensor([[0.5, 0.5]], requires_grad=True)
    make().single_loss(answers(40, 0), scores, VIEW).backward()
    assert scores.grad is not None
    assert scores.grad[0].sign().tolist() == [-1, 0]


def test_all_masks_but_the_nearest_are_held_to_the_official_ones(make: Callable[..., Watched]) -> None:
    logits = answers(36, 10, 20)
    make().distillation_loss(logits, answers(50, 50, 50).detach(), VIEW).backward()
    assert moved(logits) == [False, True, True]


@pytest.mark.parametrize("drifted", [False, True])
def test_the_official_model_is_asked_of_what_the_encoder_saw_before(
    make: Callable[..., Watched], sample: Sample, drifted: bool
) -> None:
    now = sample.features() * (0.5 if drifted else 1)
    view = View(now, sample.features(), sample.inside(), torch.from_numpy(sample.targets[0].mask())[None])
    held, free = (
        make(distilling_share=share).click_loss(view, sample.targets, np.random.default_rng(0)) for share in (1, 0)
    )
    assert (float(held.detach() - free.detach()) > 1e-9) is drifted


def test_a_box_is_its_two_corners(make: Callable[..., Watched], sample: Sample) -> None:
    objective = make(box_share=1)
    objective.loss(Lesson(sample, sample.targets), np.random.default_rng(0))
    [(prompts, _, _)] = objective.seen
    assert prompts.kinds.tolist() == [[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]]
    assert (prompts.points[0, 0] < prompts.points[0, 1]).all()


def test_each_further_click_comes_with_the_mask_before_and_the_last_is_learned_from(
    make: Callable[..., Watched], sample: Sample
) -> None:
    for seed in range(4):
        objective = make(refining_share=1, most_clicks=4)
        objective.loss(Lesson(sample, sample.targets), np.random.default_rng(seed))
        (first, logits, scores), *further = objective.seen
        assert first.masks is None
        masks = logits[:, 1 + int(scores[0, 1:].argmax())]
        for count, (prompts, answer, _) in enumerate(further, 2):
            assert prompts.masks is not None
            assert torch.equal(prompts.masks, masks)
            assert prompts.kinds[0, 0] == ON_OBJECT
            assert prompts.kinds.shape == (1, count + 1)
            masks = answer[:, 0]
        assert [prompts.kinds[0, -1] for prompts, _, _ in objective.seen] == [NOT_A_POINT] * len(objective.seen)
        assert [answer.requires_grad for _, answer, _ in objective.seen] == [False] * len(further) + [True]
        assert (prompts.points[..., 1] < 520).all(), "nobody clicks below the photo"
