"""A candidate goes into service only if it is better beyond chance."""

import numpy as np
import pytest

from maskloop.learning.dataset import ground_truth
from maskloop.learning.gate import (
    FEWEST_OBJECTS,
    FEWEST_PHOTOS,
    Agreement,
    Figures,
    agree,
    decide,
    interval,
    measure,
    too_few,
)
from maskloop.sam.values import Embedding, ImageSize, MaskLogits, Prompt

OBJECTS = 120


def figures(seed: int, *, click: float = 0.0, box: float = 0.0, noc: float = 0.0, objects: int = OBJECTS) -> Figures:
    """The same objects for all; each model's figures are moved, with noise of its own."""
    common, own = np.random.default_rng(0), np.random.default_rng(seed)
    hard = common.uniform(0.2, 0.9, objects)
    return Figures(
        np.clip(hard + click + own.normal(0, 0.05, objects), 0, 1),
        np.clip(hard + 0.1 + box + own.normal(0, 0.02, objects), 0, 1),
        20 - 15 * hard + noc + own.normal(0, 0.5, objects),
        np.arange(objects) // 3,
    )


def test_a_better_candidate_passes() -> None:
    decision = decide(figures(1, click=0.05, noc=-1), figures(2))
    assert decision.passed
    assert "120 held-out objects" in decision.reason


@pytest.mark.parametrize("seed", range(10))
def test_the_same_again_with_luck_does_not_pass(seed: int) -> None:
    assert not decide(figures(seed + 10), figures(seed + 100)).passed


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (figures(1, click=-0.05, noc=-1), "one click isn't better"),
        (figures(1, click=0.05, noc=1), "more clicks"),
        (figures(1, click=0.05, noc=-1, box=-0.05), "boxes got worse"),
    ],
)
def test_the_reason_names_what_got_worse(candidate: Figures, reason: str) -> None:
    decision = decide(candidate, figures(2))
    assert not decision.passed
    assert reason in decision.reason


def test_what_was_learned_must_not_be_paid_for_elsewhere() -> None:
    better = figures(1, click=0.05, noc=-1), figures(2)
    official = Agreement(np.full(50, 0.98), np.full(50, 0.99))
    assert decide(*better, general=(Agreement(official.click - 0.05, official.box - 0.03), official)).passed
    for forgetful in Agreement(official.click - 0.4, official.box), Agreement(official.click, official.box - 0.4):
        decision = decide(*better, general=(forgetful, official))
        assert not decision.passed
        assert "forgot" in decision.reason


def test_too_few_objects_prove_nothing() -> None:
    for objects, photos in ((FEWEST_OBJECTS - 1, 10), (200, FEWEST_PHOTOS - 1), (0, 0)):
        refusal = too_few(objects, photos)
        assert refusal is not None
        assert not refusal.passed
        assert f"{objects} held-out objects on {photos} photos" in refusal.reason
    assert too_few(FEWEST_OBJECTS, FEWEST_PHOTOS) is None


@pytest.mark.parametrize("photos", [FEWEST_PHOTOS, 12, 40])
def test_luck_passes_as_rarely_on_few_photos_as_on_many(photos: int) -> None:
    chance, on = np.random.default_rng(0), np.repeat(np.arange(photos), 5)

    def lucky() -> bool:
        difference = np.repeat(chance.normal(0, 0.05, photos), 5) + chance.normal(0, 0.1, len(on))
        return interval(difference, np.zeros(len(on)), on).low > 0

    assert sum(lucky() for _ in range(400)) <= 400 * 0.05


def test_the_interval_is_wider_when_objects_share_photos() -> None:
    one, other = figures(1, click=0.02), figures(2)
    difference = np.repeat(np.random.default_rng(5).normal(0.02, 0.1, OBJECTS // 3), 3)
    together = interval(one.click * 0 + difference, one.click * 0, one.photos)
    apart = interval(one.click * 0 + difference, one.click * 0, np.arange(OBJECTS))
    assert together.high - together.low > 1.3 * (apart.high - apart.low)
    assert together.mean == apart.mean
    assert interval(one.click, other.click, one.photos) == interval(one.click, other.click, one.photos)


class Oracle:
    """Answers each prompt with the left half of the image, the best of its masks last. After the first click it is told
    what it answered before."""

    def decode(self, embedding: Embedding, prompts: list[Prompt], *, multimask: bool) -> list[MaskLogits]:
        assert all((len(prompt.points) > 1) == (prompt.mask_logits is not None) for prompt in prompts)
        logits = np.full((3 if multimask else 1, 256, 256), -5, np.float32)
        logits[-1, :, :128] = 5
        scores = np.linspace(0.1, 0.9, len(logits)).astype(np.float32)
        return [MaskLogits(logits, scores, embedding.size) for _ in prompts]


def test_figures_are_those_of_the_mask_of_the_best_score() -> None:
    half, quarter = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    half[:, :32] = True
    quarter[:, :16] = True
    embedding = Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(64, 64))
    found = measure(Oracle(), [(embedding, [ground_truth(half)]), (embedding, [ground_truth(quarter)])])
    assert found.click == pytest.approx([1, 0.5], abs=0.02)
    assert found.box == pytest.approx([1, 0.5], abs=0.02)
    assert found.noc85.tolist() == [1, 20]
    assert found.photos.tolist() == [0, 1]


def test_agreement_is_that_of_the_best_mask_whichever_would_be_chosen() -> None:
    half = np.zeros((64, 64), bool)
    half[:, :32] = True
    embedding = Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(64, 64))

    class Unsure(Oracle):
        def decode(self, embedding: Embedding, prompts: list[Prompt], *, multimask: bool) -> list[MaskLogits]:
            found = super().decode(embedding, prompts, multimask=multimask)
            return [MaskLogits(one.logits, one.scores[::-1].copy(), one.size) for one in found]

    found = agree(Unsure(), [(embedding, [ground_truth(half)])])
    assert found.click == pytest.approx([1], abs=0.02)
    assert found.box == pytest.approx([1], abs=0.02)


@pytest.mark.parametrize(
    ("worse", "fault"),
    [
        ({}, None),
        ({"click": 0.0}, "one click isn't better"),
        ({"noc": 0.01}, "more clicks"),
        ({"box": -0.011}, "boxes got worse"),
        ({"general_click": -0.151}, "forgot"),
        ({"general_box": -0.151}, "forgot"),
    ],
)
def test_means_just_inside_the_limits_pass_and_just_outside_do_not(worse: dict[str, float], fault: str | None) -> None:
    """Of clicks and boxes the means count, however far chance may have moved them."""
    moved = {"click": 0.001, "box": -0.009, "noc": 0.0, "general_click": -0.149, "general_box": -0.149} | worse
    photos, same = np.arange(20), np.full(20, 0.5)
    spread = np.tile([-0.2, 0.2], 10)
    candidate = Figures(same + moved["click"], same + moved["box"] + spread, same + moved["noc"] + spread, photos)
    general = Agreement(same + moved["general_click"], same + moved["general_box"])
    decision = decide(candidate, Figures(same, same, same, photos), (general, Agreement(same, same)))
    assert decision.passed is (fault is None)
    assert (fault or "Better.") in decision.reason
