import pytest

from maskloop.errors import BadRequest
from maskloop.labelstudio.options import Options
from maskloop.sam.automatic import AutomaticSettings


def test_nothing_set_is_the_defaults() -> None:
    assert Options.read(None) == Options.read({}) == Options()
    assert Options().automatic_settings() == AutomaticSettings()


def test_what_maskloop_does_not_know_is_left_alone() -> None:
    assert Options.read({"a": 1, "max_regions": 3}) == Options(max_regions=3)


def test_the_generators_parameters_are_taken() -> None:
    options = Options.read({"automatic": {"points_per_side": 8, "pred_iou_thresh": 0.7}})
    settings = options.automatic_settings()
    assert settings == AutomaticSettings(points_per_side=8, pred_iou_thresh=0.7)


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"outputs": "brush"}, "outputs"),
        ({"polygon_tolerance": -1}, "polygon_tolerance"),
        ({"max_regions": 0}, "max_regions"),
        ({"automatic": {"points_per_sight": 8}}, "has no points_per_sight.*points_per_side"),
        ({"automatic": {"points_per_side": 0}}, "at least 1"),
        ({"automatic": {"points_per_side": "many"}}, "points_per_side"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(params: dict, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        Options.read(params)
