"""The same answers as the official `mobile_sam` package; recorded by tests/golden/record_reference.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maskloop.engines.torch_engine import TorchEngine
from maskloop.sam.masks import upscale
from maskloop.sam.network import MobileSam, load_model
from maskloop.sam.preprocess import SQUARE, to_frame
from maskloop.sam.prompts import stack
from maskloop.sam.values import Image, ImageSize, Prompt

GOLDEN = Path(__file__).parents[1] / "golden"
CASES: dict[str, dict[str, Any]] = json.loads((GOLDEN / "cases.json").read_text())
REFERENCE = np.load(GOLDEN / "reference.npz")
CLOSE = 1e-3
FEW_PIXELS = 1e-4

pytestmark = pytest.mark.weights


@dataclass(frozen=True)
class Encoded:
    name: str
    size: ImageSize
    features: NDArray[np.float32]
    image: Image


@pytest.fixture(scope="module")
def model(official_weights: Path) -> MobileSam:
    return load_model(official_weights)


@pytest.fixture(scope="module", params=CASES)
def encoded(request: pytest.FixtureRequest, model: MobileSam, photo: Callable[[str], Image]) -> Encoded:
    case = CASES[request.param]
    image = photo(case["file"])
    if case.get("transpose"):
        image = image.transpose(1, 0, 2)
    image = np.ascontiguousarray(image.repeat(case.get("repeat", 1), 0).repeat(case.get("repeat", 1), 1))
    with torch.inference_mode():
        features = model.image_encoder(torch.from_numpy(to_frame(image, SQUARE)[None]))[0].numpy()
    return Encoded(request.param, ImageSize(*image.shape[:2]), features, image)


@pytest.fixture(scope="module")
def engine(official_weights: Path) -> TorchEngine:
    return TorchEngine(load_model(official_weights))


def as_prompt(case: dict[str, Any], logits_of: dict[str, NDArray[np.float32]]) -> Prompt:
    return Prompt(
        np.array(case.get("points", []), np.float32).reshape(-1, 2),
        np.array(case.get("labels", []), np.int8),
        np.array(case["box"], np.float32) if "box" in case else None,
        logits_of[case["mask_of"]][1] if "mask_of" in case else None,
    )


def reference_masks(name: str, size: ImageSize) -> NDArray[np.bool_]:
    """(4, H, W)"""
    return np.unpackbits(REFERENCE[name], axis=-1, count=size.width).astype(bool)


def test_embeddings_are_the_official_ones(encoded: Encoded) -> None:
    features = encoded.features
    assert np.abs(features[::8, ::4, ::4] - REFERENCE[f"{encoded.name}/features"]).max() < CLOSE
    assert np.abs(features.mean(axis=(1, 2)) - REFERENCE[f"{encoded.name}/means"]).max() < CLOSE
    assert np.abs(features.std(axis=(1, 2)) - REFERENCE[f"{encoded.name}/deviations"]).max() < CLOSE


def test_logits_scores_and_masks_are_the_official_ones(model: MobileSam, encoded: Encoded) -> None:
    """Clicks, boxes, earlier masks and all of them together; the mask for clear prompts and the three."""
    features = torch.from_numpy(encoded.features).flatten(1).T[None]
    logits_of: dict[str, NDArray[np.float32]] = {}
    for title, case in CASES[encoded.name]["prompts"].items():
        batch = stack([as_prompt(case, logits_of)], [encoded.size])
        with torch.inference_mode():
            encoder = model.prompt_encoder
            points = encoder.embed_points(torch.from_numpy(batch.points), torch.from_numpy(batch.kinds))
            pixels = features + encoder.embed_masks(None if batch.masks is None else torch.from_numpy(batch.masks))
            logits, scores = (answer[0].numpy() for answer in model.mask_decoder(pixels, encoder.grid(), points))
        logits_of[title] = logits
        key = f"{encoded.name}/{title}"
        assert np.abs(logits[:, ::8, ::8] - REFERENCE[f"{key}/logits"]).max() < CLOSE, key
        assert np.abs(scores - REFERENCE[f"{key}/scores"]).max() < CLOSE, key
        for mask, expected in zip(logits, reference_masks(f"{key}/masks", encoded.size), strict=True):
            assert (upscale(mask, encoded.size) != expected).mean() <= FEW_PIXELS, key


def test_the_engine_gives_the_official_masks_for_all_prompts_in_one_call(engine: TorchEngine, encoded: Encoded) -> None:
    """With the embedding rounded to float16 between the two halves, and prompts of several shapes at once."""
    (embedding,) = engine.encode([encoded.image])
    cases = {title: case for title, case in CASES[encoded.name]["prompts"].items() if "mask_of" not in case}
    prompts = [as_prompt(case, {}) for case in cases.values()]
    three, single = (engine.decode(embedding, prompts, multimask=multimask) for multimask in (True, False))
    for title, one, several in zip(cases, single, three, strict=True):
        expected = reference_masks(f"{encoded.name}/{title}/masks", encoded.size)
        for logits, mask in zip(np.concatenate([one.logits, several.logits]), expected, strict=True):
            assert (upscale(logits, encoded.size) != mask).mean() <= FEW_PIXELS, title


def test_a_lost_table_of_attention_biases_would_be_noticed(
    official_weights: Path, photo: Callable[[str], Image]
) -> None:
    """What the official builder's encoder computes when nobody calls `eval()` after loading."""
    model = load_model(official_weights)
    for name, parameter in model.image_encoder.named_parameters():
        if name.endswith("attention_biases"):
            parameter.zero_()
    with torch.inference_mode():
        features = model.image_encoder(torch.from_numpy(to_frame(photo("coffee.png"), SQUARE)[None]))[0].numpy()
    assert np.abs(features[::8, ::4, ::4] - REFERENCE["coffee/features"]).max() > 10 * CLOSE
