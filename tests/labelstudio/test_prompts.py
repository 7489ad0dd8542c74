"""From the editor's context to points and boxes in pixels."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelstudio.discs import EVERYTHING, box, point, task
from maskloop.errors import BadRequest
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.prompts import Click, read_click
from maskloop.labelstudio.wire import Context
from maskloop.sam.values import ImageSize, Prompt

CONFIG = LabelConfig.parse(EVERYTHING)
SIZE = ImageSize(200, 400)


def read(*results: dict[str, Any], config: LabelConfig = CONFIG, data: dict[str, Any] | None = None) -> Click:
    asked = read_click(config, Context.read({"result": results}), config.images_in(data or task()["data"]))
    assert asked is not None
    return asked


def last(*results: dict[str, Any]) -> Prompt:
    """The prompt that holds all that was placed, of the only object."""
    (steps,) = read(*results).objects(SIZE)
    return steps[-1]


def test_points_become_pixels_with_their_signs() -> None:
    prompt = last(point(25, 50), point(100, 0), point(10, 10, positive=False))
    assert prompt.points.tolist() == [[100, 100], [400, 0], [40, 20]]
    assert prompt.labels.tolist() == [1, 1, 0]
    assert prompt.box is None


def test_each_point_is_a_step_on_the_way_to_the_last() -> None:
    (steps,) = read(point(10, 10), point(20, 20, positive=False), point(30, 30)).objects(SIZE)
    assert [len(step.points) for step in steps] == [1, 2, 3]


def test_steps_begin_with_the_first_positive_point() -> None:
    (steps,) = read(point(10, 10, positive=False), point(20, 20), point(30, 30)).objects(SIZE)
    assert [step.labels.tolist() for step in steps] == [[0, 1], [0, 1, 1]]


def test_in_a_rectangle_any_point_is_the_first_step() -> None:
    (steps,) = read(box(50, 50, 20, 20), point(55, 55, positive=False), point(60, 60)).objects(SIZE)
    assert [step.labels.tolist() for step in steps] == [[0], [0, 1]]


def test_negative_points_alone_are_refused() -> None:
    with pytest.raises(BadRequest, match="only negative"):
        read(point(10, 10, positive=False)).objects(SIZE)


def test_a_rectangle_becomes_a_box() -> None:
    assert last(box(10, 20, 30, 40)).box == pytest.approx([40, 40, 160, 120])


def test_rectangles_are_an_object_each() -> None:
    objects = read(box(10, 20, 30, 40), box(50, 50, 10, 10)).objects(SIZE)
    assert [steps[-1].box[0] for steps in objects] == pytest.approx([40, 200])  # type: ignore[index]


def test_points_refine_the_last_rectangle() -> None:
    prompt = last(box(10, 20, 30, 40), box(50, 50, 20, 20), point(55, 55), point(60, 60, positive=False))
    assert prompt.box == pytest.approx([200, 100, 280, 140])
    assert prompt.labels.tolist() == [1, 0]


def test_a_negative_point_in_a_rectangle_needs_no_positive_one() -> None:
    assert last(box(50, 50, 20, 20), point(55, 55, positive=False)).labels.tolist() == [0]


def test_a_turned_rectangle_becomes_the_box_around_it() -> None:
    # 80 x 40 px from (200, 50), a quarter turn clockwise around that corner: it reaches 40 px to the left, 80 px down.
    assert last(box(50, 25, 20, 20, rotation=90)).box == pytest.approx([160, 50, 200, 130], abs=1e-3)


@given(st.floats(0, 360), st.floats(30, 60), st.floats(30, 60), st.floats(5, 20), st.floats(5, 20))
def test_a_turned_rectangle_lies_inside_its_box(turn: float, x: float, y: float, width: float, height: float) -> None:
    x0, y0, x1, y1 = last(box(x, y, width, height, rotation=turn)).box.tolist()  # type: ignore[union-attr]
    for along, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        w, h, angle = along * width * 4, down * height * 2, math.radians(turn)
        px = x * 4 + w * math.cos(angle) - h * math.sin(angle)
        py = y * 2 + w * math.sin(angle) + h * math.cos(angle)
        assert x0 - 1e-2 <= min(max(px, 0), 400) <= x1 + 1e-2
        assert y0 - 1e-2 <= min(max(py, 0), 200) <= y1 + 1e-2


def test_a_rectangle_that_reaches_over_the_border_is_cut_there() -> None:
    assert last(box(90, 90, 30, 30)).box == pytest.approx([360, 180, 400, 200])


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        (point(120, 50), "x = 120 %, y = 50 % lies outside"),
        (point(50, -3), "lies outside"),
        (box(110, 10, 20, 20), "lies outside"),
        (box(-40, 10, 20, 20), "lies outside"),
        (box(10, 10, 0, 20), "has no area"),
    ],
)
def test_a_prompt_outside_the_image_or_without_area_is_refused(prompt: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        last(prompt)


def test_the_editors_rounding_is_forgiven() -> None:
    assert last(point(100.2, -0.1)).points.tolist() == [[400, 0]]


@pytest.mark.parametrize("bad", [None, "12", float("nan"), float("inf"), True, [1]])
def test_coordinates_are_numbers(bad: object) -> None:
    wrong = point(1, 1)
    wrong["value"]["x"] = bad
    with pytest.raises(BadRequest, match="x is"):
        read(wrong)


def test_the_label_is_that_of_the_last_prompt_and_other_labels_are_other_objects() -> None:
    asked = read(point(10, 10, label="Cat"), point(20, 20, label="Dog"), point(30, 30, label="Dog"))
    assert asked.label is not None
    assert asked.label.value == "Dog"
    assert [(p.x, p.y) for p in asked.points] == [(20, 20), (30, 30)]


def test_an_unknown_label_is_refused() -> None:
    with pytest.raises(BadRequest, match="'Fox' isn't in the labeling configuration"):
        read(point(10, 10, label="Fox"))


def test_a_control_that_is_not_in_the_configuration_is_refused() -> None:
    with pytest.raises(BadRequest, match=r"No control 'gone'.*Reload"):
        read(point(10, 10, from_name="gone"))
    with pytest.raises(BadRequest, match="image 'other'"):
        read(point(10, 10, to_name="other"))


def test_a_shape_that_is_no_prompt_is_refused() -> None:
    brush = {**point(10, 10), "from_name": "brush", "type": "brushlabels"}
    with pytest.raises(BadRequest, match="'brush' can't prompt a mask"):
        read(brush)
    with pytest.raises(BadRequest, match="'round' can't prompt a mask"):
        read({**point(10, 10), "from_name": "round", "type": "ellipselabels"})


def test_what_is_chosen_or_written_about_a_prompt_is_not_its_label() -> None:
    first, last = point(10, 10, label="Dog", id="a"), point(20, 20, label="Dog", id="b")
    about = [
        {**first, "type": "choices", "from_name": "state", "value": {"choices": ["occluded"]}},
        {**last, "type": "taxonomy", "from_name": "kind", "value": {"taxonomy": [["Animal"]]}},
    ]
    asked = read(first, about[0], last, about[1])
    assert asked.label is not None
    assert asked.label.value == "Dog"
    assert [(p.x, p.y) for p in asked.points] == [(10, 10), (20, 20)]


ACCEPTED = box(1, 1, 5, 5, from_name="box", origin="manual", score=0.94)
PREDICTED = box(2, 2, 5, 5, origin="prediction")
EDITED = box(3, 3, 5, 5, origin="prediction-changed")
BY_HAND = box(4, 4, 5, 5, from_name="box", origin="manual")
POINT_BY_HAND = point(5, 5, positive=None, origin="manual")


def test_only_what_was_placed_as_a_prompt_asks_for_a_mask() -> None:
    asked = read(ACCEPTED, PREDICTED, EDITED, BY_HAND, box(50, 50, 10, 10), box(70, 70, 10, 10))
    assert [b.x for b in asked.boxes] == [50, 70]
    assert [p.x for p in read(POINT_BY_HAND, point(50, 50), point(60, 60, positive=False)).points] == [50, 60]


def test_of_a_program_that_marks_no_key_points_all_are_positive_prompts() -> None:
    asked = read(point(50, 50, positive=None), point(60, 60, positive=None))
    assert [(p.x, p.positive) for p in asked.points] == [(50, True), (60, True)]


def test_a_new_rectangle_asks_whatever_its_control() -> None:
    """Label Studio has smart tools for controls that don't say ``smart``, too."""
    new = box(50, 50, 10, 10, from_name="box", origin="manual")
    assert [b.x for b in read(ACCEPTED, BY_HAND, new).boxes] == [50]


def test_an_accepted_region_asks_for_nothing_in_any_control() -> None:
    """With a smart label still chosen, Label Studio adds a result of that control when a region is accepted."""
    added = {**ACCEPTED, "from_name": "smartbox", "score": None}
    assert [b.x for b in read(ACCEPTED, added, box(50, 50, 10, 10)).boxes] == [50]


def test_prompts_that_were_all_taken_back_ask_for_nothing() -> None:
    for left in ([], [ACCEPTED], [BY_HAND, PREDICTED]):
        assert read_click(CONFIG, Context.read({"result": left}), {"image": ["/a.jpg"]}) is None


def test_what_was_drawn_with_a_control_that_is_not_smart_never_asks() -> None:
    dogs = '<Label value="Dog"/>'
    config = LabelConfig.parse(f"""<View><Image name="image" value="$image"/>
        <BrushLabels name="brush" toName="image">{dogs}</BrushLabels>
        <RectangleLabels name="box" toName="image" smart="false">{dogs}</RectangleLabels>
        <KeyPointLabels name="mark" toName="image" smart="false">{dogs}</KeyPointLabels>
        <RectangleLabels name="smartbox" toName="image" smart="true">{dogs}</RectangleLabels></View>""")
    by_hand = box(4, 4, 5, 5, from_name="box"), point(5, 5, positive=None, from_name="mark")
    for left in (by_hand, by_hand[:1], by_hand[1:]):
        assert read_click(config, Context.read({"result": left}), {"image": ["/a.jpg"]}) is None
    smart = box(50, 50, 10, 10)
    assert [b.x for b in read(smart, *by_hand, config=config).boxes] == [50]


def test_prompts_without_numbers_are_told_apart() -> None:
    accepted, new = (box(x, x, 5, 5, id="", score=score) for x, score in ((1, 0.9), (50, None)))
    assert [b.x for b in read(accepted, new).boxes] == [50]


def test_a_context_of_other_things_holds_no_prompt() -> None:
    with pytest.raises(BadRequest, match="no prompt"):
        read({**point(1, 1), "type": "choices"})


def test_a_plain_key_point_is_named_by_the_labels_result_of_its_id() -> None:
    config = LabelConfig.parse(
        """<View><Image name="image" value="$image"/><Brush name="b" toName="image"/>
        <KeyPoint name="point" toName="image" smart="true"/>
        <Labels name="names" toName="image"><Label value="Dog"/></Labels></View>"""
    )
    plain = {**point(10, 20, label=""), "type": "keypoint", "id": "same"}
    naming = {**plain, "type": "labels", "from_name": "names", "value": {"x": 10, "y": 20, "labels": ["Dog"]}}
    asked = read(plain, naming, config=config)
    assert asked.label is not None
    assert asked.label.value == "Dog"
    assert len(asked.points) == 1
    assert read(plain, config=config).label is None


def test_prompts_on_another_image_are_left_out() -> None:
    config = LabelConfig.parse(
        """<View><Image name="a" value="$a"/><Image name="b" value="$b"/><Brush name="brush" toName="b"/>
        <KeyPoint name="pa" toName="a" smart="true"/><KeyPoint name="pb" toName="b" smart="true"/></View>"""
    )
    asked = read(
        point(1, 1, label="", from_name="pa", to_name="a"),
        point(2, 2, label="", from_name="pb", to_name="b"),
        config=config,
        data={"a": "/a.jpg", "b": "/b.jpg"},
    )
    assert (asked.image.name, asked.reference, asked.page) == ("b", "/b.jpg", None)
    assert [(p.x, p.y) for p in asked.points] == [(2, 2)]


def test_pages_are_images_of_their_own() -> None:
    config = LabelConfig.parse(
        """<View><Image name="image" valueList="$pages"/><Brush name="brush" toName="image"/>
        <KeyPoint name="point" toName="image" smart="true"/></View>"""
    )
    data = {"pages": ["/1.jpg", "/2.jpg"]}
    asked = read(point(1, 1, label=""), point(2, 2, label="", item_index=1), config=config, data=data)
    assert (asked.reference, asked.page, len(asked.points)) == ("/2.jpg", 1, 1)
    for page in (-1, 2):
        with pytest.raises(BadRequest, match=f"Image {page}"):
            read(point(2, 2, label="", item_index=page), config=config, data=data)


def test_the_key_stays_the_same_while_an_object_grows_and_differs_for_another() -> None:
    first = point(1, 1, id="a")
    assert read(first).key == read(first, point(2, 2, id="b")).key
    assert read(first).key != read(point(1, 1, id="c")).key


def test_points_are_float32_and_labels_int8_as_the_core_wants_them() -> None:
    prompt = last(point(25, 50), point(26, 50))
    assert (prompt.points.dtype, prompt.labels.dtype) == (np.float32, np.int8)
