"""From masks to regions that Label Studio takes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_studio_sdk.converter import brush
from label_studio_sdk.label_interface import LabelInterface

from labelstudio.discs import EVERYTHING, HEIGHT, WIDTH, disc
from maskloop.geometry import masks, polygons
from maskloop.labelstudio.controls import Label, Output
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.regions import Canvas, Region, regions_of
from maskloop.sam.values import Mask

CONFIG = LabelConfig.parse(EVERYTHING)
CANVAS = Canvas(HEIGHT, WIDTH)


def of(mask: np.ndarray, *controls: str, label: str = "Dog", score: float = 0.8, **more: Any) -> list[Region]:
    outputs = [Output(CONFIG.controls[name], Label(label) if label else None) for name in controls]
    return regions_of(Mask(mask, score), outputs, CANVAS, **more)


def test_a_region_has_all_that_label_studio_needs() -> None:
    for region, kind in zip(
        of(disc(100, 100), "brush", "box", "outline"), ("brush", "rectangle", "polygon"), strict=True
    ):
        assert region["type"] == f"{kind}labels"
        assert region["value"][f"{kind}labels"] == ["Dog"]
        assert (region["to_name"], region["image_rotation"], region["score"]) == ("image", 0, 0.8)
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)


def test_regions_have_ids_of_their_own() -> None:
    found = of(disc(100, 100), "brush", "box") + of(disc(100, 100), "brush", "box")
    assert len({region["id"] for region in found}) == 4


def test_the_brush_is_read_by_the_sdk() -> None:
    (region,) = of(disc(100, 100), "brush")
    assert region["value"]["format"] == "rle"
    decoded = brush.decode_rle(region["value"]["rle"]).reshape(HEIGHT, WIDTH, 4)[..., 3] > 0
    assert (decoded == disc(100, 100)).all()


@given(st.integers(0, 300), st.integers(0, 200), st.integers(1, 99), st.integers(1, 99))
def test_the_rectangle_is_the_box_of_the_mask_in_percent(x: int, y: int, width: int, height: int) -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + height, x : x + width] = True
    (region,) = of(mask, "box")
    value = region["value"]
    sides = [value["x"] * WIDTH, value["y"] * HEIGHT, value["width"] * WIDTH, value["height"] * HEIGHT]
    assert np.array(sides) / 100 == pytest.approx([x, y, min(width, WIDTH - x), min(height, HEIGHT - y)])
    assert value["rotation"] == 0


def pixels(region: Region) -> np.ndarray:
    points = np.array(region["value"]["points"]) / 100 * (WIDTH, HEIGHT)
    return polygons.fill([points], HEIGHT, WIDTH)


def test_polygons_cover_the_mask() -> None:
    (region,) = of(disc(100, 100, 80), "outline")
    assert region["value"]["closed"] is True
    assert masks.iou(pixels(region), disc(100, 100, 80)) > 0.98


def test_islands_are_polygons_of_their_own_with_the_same_label_and_score() -> None:
    both = disc(100, 100) | disc(300, 200, 10)
    found = of(both, "outline")
    assert len(found) == 2
    assert len({region["id"] for region in found}) == 2
    assert masks.iou(pixels(found[0]) | pixels(found[1]), both) > 0.95


def test_holes_stay_open() -> None:
    ring = disc(150, 150, 90) & ~disc(150, 150, 40)
    (region,) = of(ring, "outline")
    assert masks.iou(pixels(region), ring) > 0.97


def test_specks_are_no_polygons() -> None:
    assert len(of(disc(100, 100) | disc(300, 200, 1.5), "outline")) == 1


def test_slivers_beside_a_large_object_are_no_polygons() -> None:
    """As clicks on two things give dozens, some pixels more than a speck."""
    large, sliver = disc(150, 150, 100), disc(300, 200, 4)
    assert [len(of(mask, "outline")) for mask in (large | sliver, sliver)] == [1, 1]
    assert len(of(large | disc(300, 200, 10), "outline")) == 2


def test_the_tolerance_bounds_the_number_of_points_and_the_tag_has_the_last_word() -> None:
    def count(config: str, tolerance: float | None) -> int:
        control = LabelConfig.parse(EVERYTHING.replace('name="outline"', f'name="outline" {config}')).controls[
            "outline"
        ]
        (region,) = regions_of(Mask(disc(150, 150, 100), 1), [Output(control, None)], CANVAS, tolerance)
        return len(region["value"]["points"])

    assert count("", 0) > count("", 1) > count("", None) > count("", 6)
    assert count('maskloop_tolerance="6"', 0) == count("", 6)
    assert count('maskloop_tolerance="0"', 6) == count("", 0)


def test_a_region_without_a_label_has_an_empty_list_of_them() -> None:
    for region in of(disc(100, 100), "brush", "box", "outline", label=""):
        assert region["value"][region["type"]] == []


def test_labels_of_a_tag_of_their_own_come_in_a_second_result_with_the_same_id() -> None:
    config = LabelConfig.parse(
        """<View><Image name="image" value="$image"/><Rectangle name="box" toName="image"/>
        <Labels name="names" toName="image"><Label value="Dog"/></Labels></View>"""
    )
    shape, naming = regions_of(Mask(disc(100, 100), 0.5), config.outputs("image", Label("Dog")), CANVAS)
    assert shape["id"] == naming["id"]
    assert (shape["type"], shape["from_name"]) == ("rectangle", "box")
    assert (naming["type"], naming["from_name"], naming["value"]["labels"]) == ("labels", "names", ["Dog"])
    assert "labels" not in shape["value"]


def test_page_and_rotation_are_handed_back() -> None:
    output = Output(CONFIG.controls["brush"], None)
    (region,) = regions_of(Mask(disc(100, 100), 1), [output], Canvas(HEIGHT, WIDTH, page=2, rotation=90))
    assert (region["item_index"], region["image_rotation"]) == (2, 90)
    assert "item_index" not in of(disc(100, 100), "brush")[0]


def test_an_empty_mask_has_no_region() -> None:
    assert of(np.zeros((HEIGHT, WIDTH), bool), "brush", "box", "outline") == []


def test_scores_are_between_0_and_1() -> None:
    assert [of(disc(9, 9), "box", score=score)[0]["score"] for score in (-0.2, 0.123456, 1.07)] == [0, 0.1235, 1]


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(deadline=None, max_examples=25)
def test_label_studios_own_validation_passes_every_region(seed: int, labelled: bool) -> None:
    random = np.random.default_rng(seed)
    mask = disc(*random.uniform(0, 300, 2), random.uniform(1, 150)) ^ disc(*random.uniform(0, 300, 2), 20)
    regions = of(mask, "brush", "box", "outline", label="Dog" if labelled else "")
    faults = LabelInterface(EVERYTHING).validate_prediction({"result": regions, "score": 0.5}, return_errors=True)
    assert faults == []
