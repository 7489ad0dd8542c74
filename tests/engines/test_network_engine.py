"""What an engine promises whatever runs it: answers in order, and to each prompt what it would get alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskloop.engines.network_engine import WANTED, NetworkEngine
from maskloop.sam.preprocess import FRAMES
from maskloop.sam.prompts import PromptBatch
from maskloop.sam.values import Embedding, Image, ImageSize, Prompt

NONE = np.zeros((0, 2), np.float32), np.zeros(0, np.int8)


class Echo(NetworkEngine):
    """Logits and scores tell the prompt; features tell the image. Memory holds ``room`` at once."""

    def __init__(self, room: int = 1000) -> None:
        super().__init__("echo", "0", build="", images_at_once=16, prompts_at_once=16, frames=FRAMES)
        self.room = room

    def run_encoder(self, framed: NDArray[np.float32]) -> NDArray[np.float16]:
        count, height, width, _ = framed.shape
        self.need(count)
        brightness = framed[:, :1, :1, :1]
        return np.broadcast_to(brightness, (count, 256, height // 16, width // 16)).astype(np.float16)

    def run_decoder(
        self, features: Sequence[NDArray[np.float16]], batch: PromptBatch, *, multimask: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self.need(len(batch.points))
        assert len(features) in (1, len(batch.points))
        told = batch.points.sum(axis=(1, 2)) + batch.kinds.sum(axis=1) + [float(one[0, 0, 0]) for one in features]
        if batch.masks is not None:
            told += batch.masks[:, 0, 0]
        scores = told[:, None].astype(np.float32) + np.arange(4, dtype=np.float32)[WANTED[multimask]]
        return np.broadcast_to(scores[:, :, None, None], (*scores.shape, 256, 256)), scores

    def need(self, count: int) -> None:
        if count > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def flat(value: int) -> Image:
    return np.full((20 + value, 30, 3), value, np.uint8)


def prompts() -> list[Prompt]:
    chance = np.random.default_rng(0)
    made = []
    for index in range(40):
        count = int(chance.integers(1, 4))
        points = chance.uniform(0, 50, (count, 2)).astype(np.float32)
        box = np.array([1, 2, index + 3, 9], np.float32) if index % 3 == 0 else None
        mask = np.full((256, 256), index, np.float32) if index % 4 == 0 else None
        made.append(Prompt(points, chance.integers(0, 2, count).astype(np.int8), box, mask))
    box, mask = np.array([1, 2, 3, 4], np.float32), np.ones((256, 256), np.float32)
    return [*made, Prompt(*NONE, box=box), Prompt(*NONE, mask_logits=mask)]


@pytest.fixture
def embedding() -> Embedding:
    return Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(600, 800))


@pytest.mark.parametrize("room", [1000, 3])
def test_images_come_back_in_order_with_their_sizes(room: int) -> None:
    images = [flat(value) for value in range(0, 200, 20)]
    embeddings = Echo(room).encode(images)
    assert [embedding.size for embedding in embeddings] == [ImageSize(20 + value, 30) for value in range(0, 200, 20)]
    brightness = [float(embedding.features[0, 0, 0]) for embedding in embeddings]
    assert brightness == sorted(brightness)
    assert len(set(brightness)) == len(images)


@pytest.mark.parametrize(("shape", "framed"), [((30, 60), (49, 64)), ((60, 30), (64, 49)), ((50, 50), (64, 64))])
def test_outside_of_its_frame_an_embedding_is_that_of_no_image(shape: tuple[int, int], framed: tuple[int, int]) -> None:
    engine = Echo()
    (embedding,) = engine.encode([np.full((*shape, 3), 200, np.uint8)])
    assert embedding.features.shape == (256, 64, 64)
    inside = np.zeros((64, 64), bool)
    inside[: framed[0], : framed[1]] = True
    assert (embedding.features[:, inside] > 0).all()
    assert np.array_equal(embedding.features[:, ~inside], engine.blank[:, ~inside])


@pytest.mark.parametrize("room", [1000, 3])
@pytest.mark.parametrize("multimask", [True, False])
def test_each_prompt_gets_what_it_would_get_alone(embedding: Embedding, room: int, multimask: bool) -> None:
    together = Echo(room).decode(embedding, prompts(), multimask=multimask)
    alone = [Echo().decode(embedding, [prompt], multimask=multimask)[0] for prompt in prompts()]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.scores, other.scores)
        assert np.array_equal(one.logits, other.logits)


@pytest.mark.parametrize("room", [1000, 3])
def test_prompts_on_several_images_get_what_they_would_get_alone(room: int) -> None:
    sizes = [ImageSize(600, 800), ImageSize(300, 200), ImageSize(64, 64)]
    seen = [Embedding(np.full((256, 64, 64), 100 * index, np.float16), size) for index, size in enumerate(sizes)]
    embeddings = [seen[index % len(seen)] for index in range(len(prompts()))]
    together = Echo(room).decode_each(embeddings, prompts(), multimask=True)
    for embedding, prompt, one in zip(embeddings, prompts(), together, strict=True):
        (alone,) = Echo().decode(embedding, [prompt], multimask=True)
        assert np.array_equal(one.scores, alone.scores)
        assert one.size == embedding.size


def test_three_candidates_or_one(embedding: Embedding) -> None:
    (three,) = Echo().decode(embedding, prompts()[:1], multimask=True)
    (one,) = Echo().decode(embedding, prompts()[:1], multimask=False)
    assert (three.logits.shape, three.scores.shape) == ((3, 256, 256), (3,))
    assert (one.logits.shape, one.scores.shape) == ((1, 256, 256), (1,))
    assert one.scores[0] == three.scores[0] - 1, "the mask for clear prompts comes first, then the three"


def test_nothing_asked_nothing_answered(embedding: Embedding) -> None:
    assert Echo().decode(embedding, [], multimask=True) == []
    assert Echo().encode([]) == []
