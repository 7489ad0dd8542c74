"""Further clicks on the same object."""

from collections.abc import Callable

import numpy as np
import pytest

from labelstudio.discs import DiscDecoder
from maskloop.inference.refinement import Refinement
from maskloop.sam.values import Embedding, ImageSize, Prompt

EMBEDDING = Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(300, 400))
POINTS = np.array([[100, 100], [200, 50], [30, 250]], np.float32)


def steps(count: int) -> list[Prompt]:
    return [Prompt(POINTS[:number], np.ones(number, np.int8)) for number in range(1, count + 1)]


@pytest.fixture
def ask() -> Callable[..., tuple[np.ndarray, int]]:
    """The answer, and how often it had to be decoded."""
    kept = Refinement()

    def ask(prompts: list[Prompt], identity: str = "image") -> tuple[np.ndarray, int]:
        decoder = DiscDecoder()
        return kept.answer(decoder, EMBEDDING, identity, prompts).logits, len(decoder.asked)

    return ask


def test_a_further_click_is_decoded_once_and_answered_as_if_all_were(ask: Callable) -> None:
    assert [ask(steps(count))[1] for count in (1, 2, 3)] == [1, 1, 1]
    anew = Refinement().answer(DiscDecoder(), EMBEDDING, "image", steps(3))
    np.testing.assert_array_equal(ask(steps(3))[0], anew.logits)


def test_the_same_clicks_on_another_image_or_model_are_other_ones(ask: Callable) -> None:
    assert ask(steps(2))[1] == 2
    assert ask(steps(2), "other")[1] == 2
    assert ask(steps(2))[1] == 0


def test_another_label_or_box_is_another_click(ask: Callable) -> None:
    ask(steps(2))
    first, second = steps(2)
    assert ask([first, Prompt(second.points, np.array([1, 0], np.int8))])[1] == 1
    box = np.array([0, 0, 50, 50], np.float32)
    assert ask([first, Prompt(second.points, second.labels, box)])[1] == 1


def test_an_object_needs_a_prompt(ask: Callable) -> None:
    with pytest.raises(ValueError, match="needs a prompt"):
        ask([])
