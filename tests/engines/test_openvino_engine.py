"""OpenVINO answers what PyTorch answers, for prompts of every shape."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from maskloop.engines.gate import probe
from maskloop.engines.openvino_engine import OpenVinoEngine
from maskloop.engines.torch_engine import TorchEngine
from maskloop.sam.network import load_model
from maskloop.sam.preprocess import EXACT, FRAMES
from maskloop.sam.values import Embedding, Prompt


@pytest.fixture(scope="module")
def torch_engine(random_weights: Path) -> TorchEngine:
    return TorchEngine(load_model(random_weights), frames=FRAMES)


@pytest.fixture(scope="module")
def openvino_engine(random_weights: Path, converted_dir: Path) -> OpenVinoEngine:
    return OpenVinoEngine(load_model(random_weights), "fp32", 1, converted_dir)


@pytest.fixture(scope="module")
def embedding(torch_engine: TorchEngine) -> Embedding:
    (embedding,) = torch_engine.encode([probe()])
    return embedding


def prompts() -> list[Prompt]:
    """With none to five points, with and without a box, with and without a mask; the usual shapes twice."""
    chance = np.random.default_rng(0)
    made = []
    for count, has_box, has_mask in [*itertools.product(range(6), (False, True), (False, True)), (1, False, False)]:
        if count or has_box or has_mask:
            points = chance.uniform(0, 700, (count, 2)).astype(np.float32)
            box = np.array([100, 150, 500, 600], np.float32) if has_box else None
            mask = chance.normal(0, 5, (256, 256)).astype(np.float32) if has_mask else None
            made.append(Prompt(points, chance.integers(0, 2, count).astype(np.int8), box, mask))
    return made


def test_embeddings_are_those_of_torch(openvino_engine: OpenVinoEngine, embedding: Embedding) -> None:
    (given,) = openvino_engine.encode([probe()])
    assert given.size == embedding.size
    assert np.abs(given.features.astype(np.float32) - embedding.features).max() < 5e-3, "a step or two of float16"


def test_answers_are_those_of_torch(
    torch_engine: TorchEngine, openvino_engine: OpenVinoEngine, embedding: Embedding
) -> None:
    expected = torch_engine.decode(embedding, prompts(), multimask=True)
    for given, wanted in zip(openvino_engine.decode(embedding, prompts(), multimask=True), expected, strict=True):
        assert np.abs(given.scores - wanted.scores).max() < 1e-3
        assert np.abs(given.logits - wanted.logits).max() < 1e-3 * np.abs(wanted.logits).max()


def test_clicks_on_several_images_are_answered_as_each_alone(
    torch_engine: TorchEngine, openvino_engine: OpenVinoEngine, embedding: Embedding
) -> None:
    """Together they are other products of matrices: the last digits may differ."""
    other = Embedding(embedding.features[:, ::-1].copy(), embedding.size)
    seen = [(embedding, other)[index % 2] for index in range(len(prompts()))]
    for engine in (torch_engine, openvino_engine):
        together = engine.decode_each(seen, prompts(), multimask=True)
        for one, prompt, given in zip(seen, prompts(), together, strict=True):
            (alone,) = torch_engine.decode(one, [prompt], multimask=True)
            assert np.abs(given.scores - alone.scores).max() < 1e-3
            assert np.abs(given.logits - alone.logits).max() < 1e-3 * np.abs(alone.logits).max()


def test_an_answer_outlives_the_next_one(openvino_engine: OpenVinoEngine, embedding: Embedding) -> None:
    """OpenVINO writes its outputs to the same memory each time."""
    first, second = (Prompt(np.array([[x, 200]], np.float32), np.ones(1, np.int8)) for x in (100, 600))
    (kept,) = openvino_engine.decode(embedding, [first], multimask=True)
    copy = kept.logits.copy()
    openvino_engine.decode(embedding, [second], multimask=True)
    assert np.array_equal(kept.logits, copy)


def test_a_read_only_embedding_is_taken(openvino_engine: OpenVinoEngine, embedding: Embedding) -> None:
    """As a memory-mapped cache hands it out."""
    features = embedding.features.copy()
    features.flags.writeable = False
    (answer,) = openvino_engine.decode(Embedding(features, embedding.size), prompts()[-1:], multimask=False)
    assert answer.logits.shape == (1, 256, 256)


def test_engines_of_equal_precision_and_frames_share_embeddings_and_others_do_not(
    torch_engine: TorchEngine, openvino_engine: OpenVinoEngine, random_weights: Path
) -> None:
    assert openvino_engine.identity == torch_engine.identity
    model = load_model(random_weights)
    assert TorchEngine(model, "cpu", "bf16", FRAMES).identity != torch_engine.identity
    assert TorchEngine(model, "cpu", "fp32", EXACT).identity != torch_engine.identity


def test_a_version_answers_with_both_of_its_decoders(
    random_weights: Path, converted_dir: Path, embedding: Embedding
) -> None:
    model = load_model(random_weights)
    model.single_mask_decoder = deepcopy(model.mask_decoder)
    model.single_mask_decoder.iou_prediction_head.layers[2].bias += 1
    plain = TorchEngine(load_model(random_weights), frames=FRAMES)
    (same,), (other,) = (plain.decode(embedding, prompts()[-1:], multimask=many) for many in (True, False))
    for engine in (OpenVinoEngine(model, "fp32", 1, converted_dir), TorchEngine(model, frames=FRAMES)):
        (three,), (single,) = (engine.decode(embedding, prompts()[-1:], multimask=many) for many in (True, False))
        np.testing.assert_allclose(three.scores, same.scores, atol=1e-3)
        np.testing.assert_allclose(single.scores, other.scores + 1, atol=1e-3)


def test_versions_with_the_same_encoder_share_it(random_weights: Path, converted_dir: Path, tmp_path: Path) -> None:
    first = OpenVinoEngine(load_model(random_weights), "fp32", 2, converted_dir)
    trained, other = load_model(random_weights), load_model(random_weights)
    with torch.no_grad():
        trained.mask_decoder.iou_token.weight += 1
        other.image_encoder.neck[3].bias += 1
    second = OpenVinoEngine(trained, "fp32", 2, converted_dir, like=first)
    assert second.encoders is first.encoders
    with ThreadPoolExecutor() as pool:  # at once, and often enough to meet
        (given, *_), (expected, *_) = pool.map(lambda engine: engine.encode([probe()] * 4), (second, first))
    assert np.array_equal(given.features, expected.features)
    answers = [one.decode(expected, prompts()[-1:], multimask=False)[0].logits for one in (first, second)]
    assert not np.array_equal(*answers)
    assert OpenVinoEngine(other, "fp32", 1, tmp_path, like=first).encoders is not first.encoders
