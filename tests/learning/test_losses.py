"""The losses want the mask that was meant, and look at the image alone."""

import pytest
import torch

from maskloop.learning.losses import divergence, mask_loss, true_iou

TARGET = torch.zeros(1, 256, 256)
TARGET[:, 50:100, 50:100] = 1
INSIDE = torch.zeros(256, 256)
INSIDE[:192] = 1
PERFECT = (TARGET[:, None] * 2 - 1) * 20


def test_a_perfect_mask_costs_nothing_and_a_wrong_one_does() -> None:
    assert mask_loss(PERFECT, TARGET, INSIDE).item() == pytest.approx(0, abs=1e-3)
    assert mask_loss(-PERFECT, TARGET, INSIDE).item() > 10
    assert true_iou(PERFECT, TARGET, INSIDE).item() == 1
    assert true_iou(-PERFECT, TARGET, INSIDE).item() == 0


def test_what_the_network_says_of_the_padding_does_not_matter() -> None:
    noisy = PERFECT.clone()
    noisy[:, :, 192:] = 20
    assert mask_loss(noisy, TARGET, INSIDE) == mask_loss(PERFECT, TARGET, INSIDE)
    assert true_iou(noisy, TARGET, INSIDE).item() == 1
    assert divergence(noisy, PERFECT, INSIDE).item() == 0


def test_a_closer_mask_costs_less() -> None:
    costs = []
    for shift in (0, 5, 10, 20):
        logits = torch.roll(PERFECT, shift, dims=3)
        costs.append(mask_loss(logits, TARGET, INSIDE).item())
    assert costs == sorted(costs)


def test_following_the_loss_leads_from_a_wrong_mask_to_the_target() -> None:
    logits = (torch.roll(PERFECT, 30, dims=3) / 10).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.5)
    for _ in range(20):
        optimizer.zero_grad()
        mask_loss(logits, TARGET, INSIDE).sum().backward()
        optimizer.step()
    assert true_iou(logits, TARGET, INSIDE).item() > 0.95


def test_a_half_covered_pixel_wants_to_be_half_sure() -> None:
    soft = TARGET * 0.5
    costs = {chance: mask_loss(torch.full_like(PERFECT, chance).logit() - (1 - TARGET) * 40, soft, INSIDE).item()
             for chance in (0.3, 0.5, 0.7)}  # fmt: skip
    assert min(costs, key=lambda chance: costs[chance]) == 0.5


def test_only_the_teachers_own_answer_is_no_divergence() -> None:
    teacher = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    assert divergence(teacher, teacher, INSIDE) == pytest.approx(torch.zeros(2, 3), abs=1e-6)
    assert (divergence(teacher + 1, teacher, INSIDE) > 0.01).all()
