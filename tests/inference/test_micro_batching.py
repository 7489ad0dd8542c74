"""Clicks that wait for the engine are decoded together, and each gets what it would get alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace

import numpy as np
import pytest

from maskloop.errors import BadRequest
from maskloop.inference.micro_batching import MicroBatching
from maskloop.sam.values import Embedding, ImageSize, MaskLogits, Prompt

BAD = 666.0
"""Where a click breaks the engine."""


class Gate:
    """The engine ``engine``, at work for as long as the test wants; ``calls`` are the prompts of each."""

    name = identity = "gate"

    def __init__(self, engine: SimpleNamespace) -> None:
        self.engine = engine
        self.calls: list[int] = []
        self.began, self.open = Event(), Event()

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        return self.decode_each([embedding] * len(prompts), prompts, multimask=multimask)

    def decode_each(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompt], *, multimask: bool
    ) -> list[MaskLogits]:
        self.calls.append(len(prompts))
        self.began.set()
        assert self.open.wait(20)
        if any(prompt.points[0, 0] == BAD for prompt in prompts):
            raise BadRequest("This click is no good.")
        return self.engine.decode_each(embeddings, prompts, multimask=multimask)


@pytest.fixture
def gate(fake: SimpleNamespace) -> Gate:
    return Gate(fake.FakeEngine())


@pytest.fixture
def people() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def image(number: int) -> Embedding:
    return Embedding(np.full((256, 64, 64), number, np.float16), ImageSize(30 + number, 40))


Ask = Callable[[int, float, bool], Future[list[MaskLogits]]]


@pytest.fixture
def ask(gate: Gate, people: ThreadPoolExecutor, fake: SimpleNamespace, until: Callable[..., None]) -> Ask:
    """Asks for a click at (x, 1) on an image and returns once the engine works at it or it waits for that."""
    batching = MicroBatching(gate)  # type: ignore[arg-type]

    def ask(number: int, x: float, multimask: bool) -> Future[list[MaskLogits]]:
        waiting = len(batching._waiting)
        first = not gate.began.is_set()
        asked = people.submit(batching.decode, image(number), [fake.click(x, 1)], multimask=multimask)
        until(gate.began.is_set if first else lambda: len(batching._waiting) == waiting + 1)
        return asked

    return ask


def same(given: MaskLogits, wanted: MaskLogits) -> bool:
    return np.array_equal(given.logits, wanted.logits) and given.size == wanted.size


def test_what_waits_is_decoded_together_whatever_image_it_is_on(gate: Gate, ask: Ask, fake: SimpleNamespace) -> None:
    clicks = [(number, float(number * number), number % 3 == 0) for number in range(10)]
    asked = [ask(*click) for click in clicks]
    gate.open.set()
    for (number, x, multimask), answer in zip(clicks, asked, strict=True):
        (alone,) = fake.FakeEngine().decode(image(number), [fake.click(x, 1)], multimask=multimask)
        (given,) = answer.result(20)
        assert same(given, alone)
    assert gate.calls[0] == 1, "the first waits for nobody"
    assert sorted(gate.calls[1:]) == [3, 6], "one call for those with three masks, one for those with one"


def test_nobody_fails_for_what_somebody_else_asked(gate: Gate, ask: Ask) -> None:
    before, bad, good = ask(1, 1, True), ask(2, BAD, True), ask(3, 2, True)
    gate.open.set()
    assert before.result(20)
    assert good.result(20)[0].size == image(3).size
    with pytest.raises(BadRequest, match="no good"):
        bad.result(20)


def test_an_error_is_raised_again_where_one_asked_alone(gate: Gate, ask: Ask) -> None:
    gate.open.set()
    with pytest.raises(BadRequest, match="no good"):
        ask(1, BAD, True).result(20)
    assert gate.calls == [1], "and isn't tried twice"
