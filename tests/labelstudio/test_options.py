from dataclasses import asdict

import pytest

from maskloop.errors import BadRequest
from maskloop.labelstudio.options import BOUNDS, Options
from maskloop.sam.automatic import AutomaticSettings


def test_nothing_set_is_the_defaults() -> None:
    assert Options.read(None) == Options.read({}) == Options()
    assert Options().automatic_settings() == AutomaticSettings()


def test_what_maskloop_does_not_know_is_left_alone() -> None:
    assert Options.read({"a": 1, "max_regions": 3}) == Options(max_regions=3)


def test_the_generators_parameters_are_taken() -> None:
    given = {"points_per_side": 8, "pred_iou_thresh": 0.7, "tile_side": 0, "max_masks": None}
    settings = Options.read({"automatic": given}).automatic_settings()
    assert settings == AutomaticSettings(points_per_side=8, pred_iou_thresh=0.7)


def test_each_number_of_the_generator_has_its_bounds() -> None:
    numbers = asdict(AutomaticSettings()).keys() - {"granularity"}
    assert BOUNDS.keys() == numbers


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"outputs": "brush"}, "outputs"),
        ({"polygon_tolerance": -1}, "polygon_tolerance"),
        ({"max_regions": 0}, "max_regions"),
        ({"automatic": {"points_per_sight": 8}}, "has no points_per_sight.*points_per_side"),
        ({"automatic": {"points_per_side": 0}}, "points_per_side must be at least 1"),
        ({"automatic": {"points_per_side": "many"}}, "points_per_side"),
        ({"automatic": {"points_per_side": 1000}}, "points_per_side is 1000: at most 128"),
        ({"automatic": {"crop_n_layers": 9}}, "crop_n_layers is 9: at most 3"),
        ({"automatic": {"crop_overlap_ratio": 0.999}}, "crop_overlap_ratio is 0.999"),
        ({"automatic": {"tile_side": 1}}, "tile_side is 1: at least 128"),
        ({"automatic": {"likeness": 2**100}}, "likeness is"),
        ({"automatic": {"box_nms_thresh": float("nan")}}, "box_nms_thresh is nan"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(params: dict, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        Options.read(params)
