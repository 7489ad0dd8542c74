"""Label Studio's regions as masks."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from maskloop.geometry.label_studio_rle import encode
from maskloop.learning.regions import UnusableRegion, image_of, is_shape, label, mask, shapes


def region(kind: str, value: dict[str, Any], width: int = 100, height: int = 50) -> dict[str, Any]:
    return {"id": "r", "type": kind, "value": value, "original_width": width, "original_height": height}


def rectangle(**more: float) -> dict[str, Any]:
    return region("rectanglelabels", {"x": 10, "y": 20, "width": 30, "height": 40, "rectanglelabels": ["Dog"]} | more)


def test_a_rectangle_covers_its_percent_of_the_image() -> None:
    expected = np.zeros((50, 100), bool)
    expected[10:30, 10:40] = True
    assert (mask(rectangle()) == expected).all()


def test_a_rectangle_turns_clockwise_about_its_top_left_corner() -> None:
    turned = mask(rectangle(x=50, rotation=90))
    ys, xs = np.nonzero(turned)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (30, 49, 10, 39)


def test_a_polygon_is_filled() -> None:
    triangle = mask(region("polygonlabels", {"points": [[0, 0], [100, 0], [0, 100]], "closed": True}))
    assert triangle.mean() == pytest.approx(0.5, abs=0.02)
    assert triangle[0, 0]
    assert not triangle[-1, -1]


@given(arrays(bool, (50, 100)))
def test_a_brush_mask_comes_back_as_it_was(drawn: np.ndarray) -> None:
    assert (mask(region("brushlabels", {"format": "rle", "rle": encode(drawn)})) == drawn).all()


def test_labels_and_shapes() -> None:
    assert label(rectangle()) == "Dog"
    assert label(region("rectanglelabels", {"x": 1})) is None
    assert is_shape(rectangle())
    assert not is_shape({"type": "relation", "id": "r"})
    assert not is_shape({"type": "keypointlabels", "id": "r"})
    assert not is_shape("x")


def test_a_region_is_its_shape_and_the_label_that_another_result_gives_it() -> None:
    drawn = {"format": "rle", "rle": encode(np.eye(50, 100, dtype=bool))}
    plain = region("brush", drawn)
    named = region("labels", drawn | {"labels": ["Cat"]}) | {"from_name": "naming"}
    (found,) = shapes([plain, named])
    assert (found["type"], label(found)) == ("brush", "Cat")
    assert (mask(found) == mask(plain)).all()
    assert label(plain) is None


def test_labels_of_prompts_that_the_editor_adds_to_a_mask_say_nothing_of_it() -> None:
    drawn = {"format": "rle", "rle": encode(np.eye(50, 100, dtype=bool))}
    brush = region("brushlabels", drawn | {"brushlabels": ["Cat"]})
    added = [region(kind, drawn | {kind: ["Dog"]}) for kind in ("keypointlabels", "rectanglelabels")]
    assert shapes([brush, *added]) == shapes([*added, brush]) == (brush,)
    box = rectangle()
    assert shapes([box, rectangle(rectanglelabels=["Cat"]), region("keypointlabels", box["value"])]) == (box,)


def test_a_label_without_a_shape_is_none() -> None:
    assert not shapes([region("brushlabels", {"brushlabels": ["Cat"]}), region("textarea", {"text": []}), "x", None])


@pytest.mark.parametrize(
    ("unusable", "reason"),
    [
        (rectangle(x=float("nan")), "three corners"),
        (rectangle() | {"value": None}, "no value"),
        (rectangle() | {"original_width": 0}, "image size"),
        (rectangle() | {"original_width": 1 << 30}, "larger than"),
        (region("polygonlabels", {"points": [[0, 0], [1, 1]]}), "three corners"),
        (region("polygonlabels", {"points": "x"}), "malformed"),
        (region("brushlabels", {"format": "rle", "rle": [1, 2]}), "RLE format"),
        (region("brushlabels", {"format": "rle", "rle": [0, 0, 0, "x", 5]}), "something else than bytes"),
        (
            region("brushlabels", {"format": "rle", "rle": encode(np.zeros((5, 5), bool))}),
            "25 pixels and its image 100",
        ),
        (region("brushlabels", {"format": "rle", "rle": encode(np.eye(50, 100, dtype=bool))[:40]}), "damaged"),
    ],
)
def test_what_no_mask_can_be_made_of_says_why(unusable: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableRegion, match=reason):
        mask(unusable)


PAGES = ["/data/1.png", "/data/2.png"]


@pytest.mark.parametrize(
    ("said", "data", "page", "expected"),
    [
        ({"valueList": "pages"}, {"pages": PAGES}, 1, "/data/2.png"),
        ({"valueList": "pages"}, {"pages": PAGES}, None, "/data/1.png"),
        ({"value": "views.front[1]"}, {"views": {"front": PAGES}}, None, "/data/2.png"),
        ({"value": "a.b"}, {"a.b": "/data/1.png"}, None, "/data/1.png"),
        ({"value": "https://host/$name.png"}, {"name": "3"}, None, "https://host/"),
        ({"value": "https://host/3.png"}, {}, None, "https://host/3.png"),
    ],
)
def test_the_image_is_the_one_that_the_labeling_configuration_shows(
    said: dict[str, str], data: dict[str, Any], page: int | None, expected: str
) -> None:
    """As Label Studio tells of its controls: without the sign of a variable."""
    found = rectangle() | {"from_name": "box"} | ({} if page is None else {"item_index": page})
    assert image_of(found, data, {"box": {"inputs": [said]}}).startswith(expected)


@pytest.mark.parametrize(
    ("data", "page"), [({}, 0), ({"pages": PAGES}, 2), ({"pages": [3]}, 0), ({"pages": PAGES}, -1)]
)
def test_an_image_that_the_task_does_not_have(data: dict[str, Any], page: int) -> None:
    with pytest.raises(UnusableRegion, match="doesn't name the image of control 'box'"):
        image_of(
            rectangle() | {"from_name": "box", "item_index": page}, data, {"box": {"inputs": [{"valueList": "pages"}]}}
        )
