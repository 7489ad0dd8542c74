from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from maskloop.evaluation.clicking import Click, ManyClicks, clicks_to, ious_by_click, next_click
from maskloop.evaluation.coco import load
from maskloop.evaluation.measure import evaluate
from maskloop.sam.values import Embedding, MaskLogits, Prompt

Write = Callable[..., tuple[Path, Path]]


def test_the_first_click_is_the_middle_of_the_largest_part() -> None:
    truth = np.zeros((20, 30), bool)
    truth[2:5, 2:5] = truth[8:15, 10:17] = True
    assert next_click(truth, np.zeros_like(truth)) == Click(13, 11, positive=True)


def test_the_next_click_corrects_the_largest_error() -> None:
    truth = np.zeros((20, 30), bool)
    truth[:, :10] = True
    too_much = truth.copy()
    too_much[0:5, 15:20] = True
    assert next_click(truth, too_much) == Click(17, 2, positive=False)
    too_little = too_much.copy()
    too_little[8:17, :9] = False
    assert next_click(truth, too_little) == Click(4, 12, positive=True)
    assert next_click(truth, truth) is None


def test_clicks_to_a_target() -> None:
    assert clicks_to(0.85, [0.2, 0.85, 0.8, 0.9]) == 2
    assert clicks_to(0.95, [0.2, 0.85, 0.8, 0.9]) == 20
    assert clicks_to(0.5, []) == 20


def test_a_network_that_sees_the_object_needs_one_click(write_dataset: Write, shapes: Callable) -> None:
    network = shapes(favourite=0)
    figures = evaluate(network, load(*write_dataset()), [ManyClicks(network)])
    assert figures["noc85"] == figures["noc90"] == figures["noc85_without_refinement"] == 1
    assert figures["miou_1"] > 0.95
    assert {"noc90_without_refinement", "miou_2", "miou_3_without_refinement", "miou_5"} <= figures.keys()


class Blind:
    """Never finds anything; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Prompt] = []

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        self.asked += prompts
        count = 3 if multimask else 1
        nothing = MaskLogits(np.full((count, 256, 256), -8, np.float32), np.zeros(count, np.float32), embedding.size)
        return [nothing for _ in prompts]


@pytest.mark.parametrize("refine", [True, False])
def test_twenty_clicks_are_the_most_and_refinement_hands_the_logits_on(
    write_dataset: Write, shapes: Callable, refine: bool
) -> None:
    (photo,) = load(*write_dataset())
    (embedding,) = shapes().encode([photo.read()])
    network = Blind()
    runs = ious_by_click(network, embedding, photo.objects[:1], refine=refine, target=0.85)
    assert runs == [[0.0] * 20]
    assert [len(prompt.points) for prompt in network.asked] == list(range(1, 21))
    assert [prompt.mask_logits is not None for prompt in network.asked] == [False] + [refine] * 19


@pytest.mark.parametrize("fewest", [1, 3])
def test_clicks_end_at_the_target_but_not_before_the_fewest(
    write_dataset: Write, shapes: Callable, fewest: int
) -> None:
    (photo,) = load(*write_dataset())
    (embedding,) = shapes().encode([photo.read()])
    runs = ious_by_click(Blind(), embedding, photo.objects[:1], refine=True, target=0.0, fewest=fewest)
    assert runs == [[0.0] * fewest]
