"""Automatic masks: the official generator's, and what the settings promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from maskloop.engines.torch_engine import TorchEngine
from maskloop.geometry import masks
from maskloop.sam.automatic import AutomaticSettings, propose
from maskloop.sam.network import load_model
from maskloop.sam.preprocess import resized
from maskloop.sam.protocols import EncoderDecoder
from maskloop.sam.values import Embedding, Image, ImageSize, Mask, MaskLogits, Prompt

GOLDEN = Path(__file__).parents[1] / "golden"
CASES: dict[str, dict[str, Any]] = {
    "grid": {"points_per_side": 12},
    "crops": {"points_per_side": 6, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
    "cleared": {"points_per_side": 6, "min_mask_region_area": 400},
}
"""As in tests/golden/record_automatic.py."""


@pytest.fixture(scope="module")
def network(official_weights: Path) -> TorchEngine:
    return TorchEngine(load_model(official_weights))


def found_in(network: EncoderDecoder, image: Image, settings: AutomaticSettings) -> list[Mask]:
    (embedding,) = network.encode([image])
    return list(propose(network, embedding, settings, image))


@pytest.mark.weights
@pytest.mark.parametrize("name", CASES)
def test_the_masks_are_those_of_the_official_generator(
    name: str, network: TorchEngine, photo: Callable[[str], Image]
) -> None:
    image = photo("coffee.png")
    recorded = np.load(GOLDEN / "automatic.npz")
    official = np.unpackbits(recorded[f"{name}_masks"], axis=-1, count=image.shape[1]).astype(bool)
    ours = found_in(network, image, AutomaticSettings.official(**CASES[name]))
    ious = np.array([[masks.iou(mask.pixels, other) for other in official] for mask in ours])
    assert len(ours) == len(official)
    assert ious.max(axis=0).min() > 0.99
    for mask, other in enumerate(ious.argmax(axis=1)):
        assert ours[mask].score == pytest.approx(float(recorded[f"{name}_scores"][other]), abs=1e-3)


class Discs:
    """Draws white discs, and finds them: a click on one gives it thrice, elsewhere nothing.

    score: that it predicts. edge: how fast the logits fall at an outline.
    """

    def __init__(self, *discs: tuple[int, int, int], score: float = 0.9, edge: float = 4.0) -> None:
        self.discs, self.score, self.edge = discs, score, edge
        self.seen: list[Image] = []
        self.asked = 0

    def image(self, size: ImageSize) -> Image:
        image = np.zeros((*size, 3), np.uint8)
        for x, y, radius in self.discs:
            cv2.circle(image, (x, y), radius, (255, 255, 255), -1)
        return image

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        embeddings = []
        for image in images:
            features = np.zeros((256, 64, 64), np.float16)
            features[0] = len(self.seen)
            features[1, :, :32] = 1  # something to tell the left from the right
            self.seen.append(image)
            embeddings.append(Embedding(features, ImageSize(*image.shape[:2])))
        return embeddings

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        assert multimask
        self.asked += len(prompts)
        image = self.seen[int(embedding.features[0, 0, 0])]
        return [self.answer(prompt.points[0], image) for prompt in prompts]

    def answer(self, point: np.ndarray, image: Image) -> MaskLogits:
        x, y = point.astype(int)
        _, parts = cv2.connectedComponents(image[..., 0])
        clicked = ((parts == parts[y, x]) & (image[..., 0] > 0)).astype(np.uint8)
        inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, 5) for part in (clicked, 1 - clicked))
        depth = inside - (outside if clicked.any() else 9)
        height, width = resized(ImageSize(*image.shape[:2]))
        square = np.full((1024, 1024), -16, np.float32)
        square[:height, :width] = cv2.resize(depth, (width, height))
        logits = cv2.resize(square * self.edge, (256, 256), interpolation=cv2.INTER_AREA).clip(-16, 16)
        return MaskLogits(np.stack([logits] * 3), np.full(3, self.score, np.float32), ImageSize(*image.shape[:2]))


def found_by(network: Discs, size: ImageSize, **settings: Any) -> list[Mask]:
    return found_in(network, network.image(size), AutomaticSettings(**settings))


def test_each_object_is_found_once_at_the_images_size() -> None:
    ours = found_by(Discs((100, 100, 60), (300, 150, 40)), ImageSize(240, 400), points_per_side=8)
    assert sorted(round(np.sqrt(mask.pixels.sum() / np.pi)) for mask in ours) == [40, 60]
    assert all(mask.pixels.shape == (240, 400) for mask in ours)


@pytest.mark.parametrize(
    ("network", "why"),
    [
        (Discs((100, 100, 60), score=0.8), "its predicted score is low"),
        (Discs((100, 100, 60), edge=0.05), "its outline moves with the threshold"),
        (Discs(), "there is nothing"),
    ],
)
def test_what_is_not_sure_is_left_out(network: Discs, why: str) -> None:
    assert found_by(network, ImageSize(240, 400), points_per_side=8) == [], why


def test_thresholds_are_settings() -> None:
    unsure = Discs((100, 100, 60), score=0.8, edge=0.05)
    assert found_by(unsure, ImageSize(240, 400), points_per_side=8, pred_iou_thresh=0.7, stability_score_thresh=0.2)


def test_crops_find_what_the_grid_of_the_whole_image_misses() -> None:
    small, size = Discs((82, 82, 12)), ImageSize(400, 400)
    assert found_by(small, size, points_per_side=4) == []
    (mask,) = found_by(small, size, points_per_side=4, crop_n_layers=1, crop_overlap_ratio=0.1)
    assert masks.deepest_point(mask.pixels) == pytest.approx((82, 82), abs=1)


def test_the_whole_image_is_encoded_once() -> None:
    network, size = Discs((82, 82, 12)), ImageSize(400, 400)
    found_by(network, size, points_per_side=4, crop_n_layers=1)
    assert [seen.shape[:2] for seen in network.seen].count(size) == 1
    assert len(network.seen) == 5


def test_what_a_crop_cuts_off_is_left_to_the_whole_image() -> None:
    (mask,) = found_by(Discs((200, 200, 150)), ImageSize(400, 400), points_per_side=8, crop_n_layers=1)
    assert mask.pixels.sum() == pytest.approx(np.pi * 150**2, rel=0.02)


def test_a_mask_is_cleared_of_small_holes() -> None:
    network, size = Discs((100, 100, 60)), ImageSize(240, 400)
    holed = network.image(size)
    cv2.circle(holed, (110, 110), 5, (0, 0, 0), -1)
    settings = AutomaticSettings(points_per_side=8)
    (kept,) = found_in(network, holed, settings)
    (cleared,) = found_in(network, holed, replace(settings, min_mask_region_area=400))
    assert not kept.pixels[110, 110]
    assert cleared.pixels[110, 110]


def test_tiles_find_small_objects_of_large_images() -> None:
    size, settings = ImageSize(600, 1000), {"points_per_side": 8}
    small = Discs((475, 375, 12), (820, 420, 150))
    assert len(found_by(small, size, **settings)) == 1
    tiled = found_by(small, size, tile_side=400, **settings)
    assert sorted(round(np.sqrt(mask.pixels.sum() / np.pi)) for mask in tiled) == [12, 150]


def test_a_point_is_spared_where_its_neighbours_answer_is_its_own() -> None:
    network, size = Discs((100, 100, 60), (300, 150, 40)), ImageSize(240, 400)
    thorough = found_by(network, size, points_per_side=16, reach=0)
    assert network.asked == 256
    network.asked = 0
    quick = found_by(network, size, points_per_side=16)
    assert network.asked < 256 - 15, "most of the points on the discs"
    assert [mask.pixels.sum() for mask in quick] == [mask.pixels.sum() for mask in thorough]


def test_there_are_as_many_masks_as_wanted_the_best_first() -> None:
    discs = [(60 + 100 * n, 60, 30) for n in range(4)]
    found = found_by(Discs(*discs), ImageSize(120, 450), points_per_side=16, max_masks=3)
    assert len(found) == 3
    assert [mask.score for mask in found] == sorted((mask.score for mask in found), reverse=True)


class Halved(Discs):
    """Finds the discs' left half too."""

    def answer(self, point: np.ndarray, image: Image) -> MaskLogits:
        left = image.copy()
        left[:, 100:] = 0
        whole, half = super().answer(point, image), super().answer(point, left)
        return replace(whole, logits=np.concatenate([whole.logits[:1], half.logits[:2]]))


@pytest.mark.parametrize(("granularity", "radii"), [("all", [42, 60]), ("whole", [60]), ("parts", [42])])
def test_of_nested_masks_those_of_the_granularity_are_kept(granularity: str, radii: list[int]) -> None:
    found = found_by(Halved((100, 100, 60)), ImageSize(200, 200), points_per_side=8, granularity=granularity)
    assert sorted(round(np.sqrt(mask.pixels.sum() / np.pi)) for mask in found) == radii


@pytest.mark.parametrize(
    ("name", "value"),
    [("points_per_side", 0), ("crop_n_points_downscale_factor", 0), ("max_masks", 0), ("reach", -1), ("tile_side", -5),
     ("crop_overlap_ratio", 1.0)],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        AutomaticSettings(**{name: value})
