"""What a worker makes of a click, and of a whole task."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelstudio.discs import (
    DAMAGED,
    EMPTY,
    EVERYTHING,
    HEIGHT,
    MISSING,
    PHOTO,
    WIDTH,
    DiscSegmenter,
    box,
    disc,
    point,
    task,
)
from maskloop.dispatch.queues import Serializer
from maskloop.engines.choose import choose_engine
from maskloop.errors import BadLabelConfig, BadRequest, ImageUnavailable
from maskloop.geometry import label_studio_rle, masks
from maskloop.inference import open_segmenter
from maskloop.labelstudio.handlers import UNPROPOSED, NothingFound, click, payload_of, pre_annotate, prefetch, propose
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.rehearsal import rehearsal
from maskloop.labelstudio.wire import Context, Task
from maskloop.sam.automatic import AutomaticSettings
from maskloop.settings import Settings


@pytest.fixture
def segmenter() -> DiscSegmenter:
    return DiscSegmenter()


def asked(*prompts: dict[str, Any], config: str = EVERYTHING, image: str = PHOTO, **options: Any) -> dict:
    context = Context.read({"result": prompts})
    return payload_of(7, Task.read(task(3, image)), config, Options.read(options), "model-1", context)


def whole(config: str = EVERYTHING, image: str = PHOTO, **options: Any) -> dict:
    return payload_of(7, Task.read(task(3, image)), config, Options.read(options), "model-1")


def brush_mask(prediction: dict[str, Any]) -> Any:
    (region,) = [region for region in prediction["result"] if region["type"] == "brushlabels"]
    return label_studio_rle.decode(region["value"]["rle"], HEIGHT, WIDTH)


def test_a_click_is_answered_by_the_object_under_it(segmenter: DiscSegmenter) -> None:
    made = click(segmenter, asked(point(25, 50)))
    assert [region["from_name"] for region in made["result"]] == ["brush", "box", "outline"]
    assert (made["model_version"], made["score"]) == ("model-1", 0.9)
    assert masks.iou(brush_mask(made), disc(100, 150)) > 0.95


def test_a_single_click_takes_the_best_of_three_and_more_take_one_that_knows_the_answer_before(
    segmenter: DiscSegmenter,
) -> None:
    click(segmenter, asked(point(25, 50), point(30, 50, positive=False)))
    (first, three), (second, one) = [(prompt, multimask) for prompt, multimask in segmenter.engine.asked]
    assert (three, one) == (True, False)
    assert first.mask_logits is None
    assert second.mask_logits is not None
    assert len(second.points) == 2


def test_a_rectangle_is_answered_by_what_is_in_it(segmenter: DiscSegmenter) -> None:
    made = click(segmenter, asked(box(25, 25, 50, 50, label="Cat")))
    assert [region["from_name"] for region in made["result"]] == ["brush", "box"]
    (rectangle,) = [region for region in made["result"] if region["from_name"] == "box"]
    sides = [rectangle["value"][side] for side in ("x", "y", "width", "height")]
    assert sides == pytest.approx([25, 25, 50, 50], abs=1.5)
    assert rectangle["value"]["rectanglelabels"] == ["Cat"]


def test_two_rectangles_are_two_objects(segmenter: DiscSegmenter) -> None:
    made = click(segmenter, asked(box(5, 5, 20, 20), box(60, 60, 20, 20), outputs=["brush"]))
    assert len(made["result"]) == 2


PICKING = EVERYTHING.replace('name="point"', 'name="point" maskloop_pick="true"')


class TestPicking:
    """Points of a control that picks get one of the task's automatic masks, and nothing is decoded."""

    def test_two_clicks_get_the_mask_that_holds_both_in_every_control(self, segmenter: DiscSegmenter) -> None:
        pre_annotate(segmenter, whole(PICKING))
        made = click(segmenter, asked(point(19, 30), point(21, 36), config=PICKING))
        assert [region["from_name"] for region in made["result"]] == ["brush", "box", "outline"]
        assert np.array_equal(brush_mask(made), disc(80, 100))
        assert made["score"] == 0.9
        assert UNPROPOSED not in made
        assert not segmenter.engine.asked

    def test_a_rectangle_is_the_masks_own_box(self, segmenter: DiscSegmenter) -> None:
        pre_annotate(segmenter, whole(PICKING))
        made = click(segmenter, asked(point(18, 32), point(21, 36), config=PICKING, outputs=["rectangle"]))
        (value,) = [region["value"] for region in made["result"]]
        sides = [value[side] for side in ("x", "y", "width", "height")]
        assert sides == pytest.approx([50 / 4, 70 / 3, 60 / 4, 60 / 3])

    def test_where_no_mask_fits_the_decoder_answers(self, segmenter: DiscSegmenter) -> None:
        pre_annotate(segmenter, whole(PICKING))
        made = click(segmenter, asked(point(25, 80), config=PICKING))
        assert masks.iou(brush_mask(made), disc(100, 240)) > 0.95
        assert UNPROPOSED not in made

    def test_where_nothing_was_looked_for_yet_the_decoder_answers_and_says_so(self, segmenter: DiscSegmenter) -> None:
        asks = asked(point(20, 33), config=PICKING)
        assert click(segmenter, asks)[UNPROPOSED]
        assert len(segmenter.engine.asked) == 1
        propose(segmenter, {name: value for name, value in asks.items() if name != "context"})
        assert UNPROPOSED not in click(segmenter, asks)
        assert len(segmenter.engine.asked) == 1

    def test_the_masks_are_those_of_the_projects_own_parameters(self, segmenter: DiscSegmenter) -> None:
        pre_annotate(segmenter, whole(PICKING, automatic={"points_per_side": 8}))
        assert UNPROPOSED in click(segmenter, asked(point(20, 33), config=PICKING))
        assert UNPROPOSED not in click(
            segmenter, asked(point(20, 33), config=PICKING, automatic={"points_per_side": 8})
        )

    def test_extra_params_have_all_points_pick_and_rectangles_never_do(self, segmenter: DiscSegmenter) -> None:
        pre_annotate(segmenter, whole())
        click(segmenter, asked(point(20, 33), pick=True))
        assert not segmenter.engine.asked
        click(segmenter, asked(point(20, 33)))
        click(segmenter, asked(point(20, 33), box(10, 20, 20, 30), pick=True))
        assert len(segmenter.engine.asked) > 1

    def test_a_point_off_the_object_leaves_it_to_others(self, segmenter: DiscSegmenter) -> None:
        pre_annotate(segmenter, whole(PICKING))
        made = click(segmenter, asked(point(20, 33), point(22, 33, positive=False), config=PICKING))
        assert not np.array_equal(brush_mask(made), disc(80, 100))
        assert segmenter.engine.asked


class TestClasses:
    """Learned classes name masks whose label nobody and nothing else tells."""

    @staticmethod
    def by_place(_image: Any, found: Any) -> list[str | None]:
        """The disc in the middle is a cat, one more to the right a bird, another isn't sure."""
        return ["Cat" if mask[100, 160] else "Bird" if mask[100, 240] else None for mask in found]

    def test_automatic_masks_get_their_class_where_the_control_knows_it(self, segmenter: DiscSegmenter) -> None:
        made = pre_annotate(segmenter, whole(outputs=["brush"]), classify=self.by_place)
        assert [region["value"]["brushlabels"] for region in made["result"]] == [[], ["Cat"], []]

    def test_what_the_configuration_names_stays(self, segmenter: DiscSegmenter) -> None:
        made = pre_annotate(segmenter, whole(outputs=["brush"], default_label="Dog"), classify=self.by_place)
        assert [region["value"]["brushlabels"] for region in made["result"]] == [["Dog"]] * 3
        made = pre_annotate(segmenter, whole(outputs=["polygon"]), classify=self.by_place)
        assert [region["value"]["polygonlabels"] for region in made["result"]] == [["Dog"]] * 3

    def test_a_click_without_a_label_gets_the_masks_class_and_one_with_a_label_keeps_it(
        self, segmenter: DiscSegmenter
    ) -> None:
        bare = EVERYTHING.replace(
            "<KeyPointLabels", '<KeyPoint name="bare" toName="image" smart="true"/><KeyPointLabels'
        )
        place = point(40, 33, label="", from_name="bare", type="keypoint")
        made = click(segmenter, asked(place, config=bare, outputs=["brush"]), classify=self.by_place)
        assert [region["value"]["brushlabels"] for region in made["result"]] == [["Cat"]]
        made = click(segmenter, asked(point(40, 33), outputs=["brush"]), classify=self.by_place)
        assert [region["value"]["brushlabels"] for region in made["result"]] == [["Dog"]]


def test_prompts_taken_back_leave_an_empty_answer(segmenter: DiscSegmenter) -> None:
    assert click(segmenter, asked())["result"] == []
    assert segmenter.references == []


def test_cloud_storage_is_asked_of_label_studio(segmenter: DiscSegmenter) -> None:
    click(segmenter, asked(point(25, 50), image="s3://bucket/photo.jpg"))
    (reference,) = segmenter.references
    assert reference.startswith("/projects/7/resolve/?fileuri=")


def test_what_is_wrong_with_the_image_is_told(segmenter: DiscSegmenter) -> None:
    with pytest.raises(ImageUnavailable, match="404"):
        click(segmenter, asked(point(25, 50), image=MISSING))


def test_a_prompt_outside_the_image_is_told(segmenter: DiscSegmenter) -> None:
    with pytest.raises(BadRequest, match="outside the image"):
        click(segmenter, asked(point(125, 50)))


def test_an_empty_mask_is_told_rather_than_drawn(segmenter: DiscSegmenter) -> None:
    negatives = [point(25, 50), point(25.01, 50, positive=False)]
    with pytest.raises(NothingFound, match="No object"):
        click(segmenter, asked(*negatives))


def test_a_task_gets_all_objects_in_every_control_best_first(segmenter: DiscSegmenter) -> None:
    made = pre_annotate(segmenter, whole())
    assert [(region["from_name"], region["score"]) for region in made["result"][:6]] == [
        *[(name, 0.9) for name in ("brush", "box", "outline")],
        *[(name, 0.8) for name in ("brush", "box", "outline")],
    ]
    assert made["score"] == pytest.approx(0.8)
    assert made["model_version"] == "model-1"


def test_automatic_regions_carry_the_only_label_or_none_or_the_one_that_is_named(segmenter: DiscSegmenter) -> None:
    labels = {
        region["from_name"]: region["value"][region["type"]] for region in pre_annotate(segmenter, whole())["result"]
    }
    assert labels == {"brush": [], "box": [], "outline": ["Dog"]}
    named = pre_annotate(segmenter, whole(default_label="Cat", outputs=["brush"]))["result"]
    assert [region["value"]["brushlabels"] for region in named] == [["Cat"]] * 3


def test_the_number_of_regions_and_the_generators_parameters_are_the_projects(segmenter: DiscSegmenter) -> None:
    payload = whole(max_regions=2, outputs=["box"], automatic={"points_per_side": 8, "box_nms_thresh": 0.5})
    assert len(pre_annotate(segmenter, payload)["result"]) == 2
    assert segmenter.settings == [AutomaticSettings(points_per_side=8, box_nms_thresh=0.5)]


def test_every_image_and_page_of_a_task_is_looked_at(segmenter: DiscSegmenter) -> None:
    config = """<View>
        <Image name="a" value="$a"/><Image name="pages" valueList="$pages"/><Image name="bare" value="$c"/>
        <Rectangle name="in a" toName="a"/><Rectangle name="in pages" toName="pages"/></View>"""
    data = {"a": "/a.jpg", "pages": ["/1.jpg", "/2.jpg"]}
    made = pre_annotate(segmenter, payload_of(7, Task(id=1, data=data), config, Options(), "v"))
    assert segmenter.references == ["/a.jpg", "/1.jpg", "/2.jpg"]
    pages = [region.get("item_index") for region in made["result"]]
    assert pages == [None] * 3 + [0] * 3 + [1] * 3


FRONT_AND_BACK = """<View><Image name="front" value="$front"/><Image name="back" value="$back"/>
    <Rectangle name="in front" toName="front"/><Rectangle name="in back" toName="back"/></View>"""


@pytest.mark.parametrize("back", [None, "", DAMAGED])
def test_an_image_that_is_absent_or_bad_does_not_cost_the_others_their_masks(
    segmenter: DiscSegmenter, back: str | None
) -> None:
    task = Task(id=1, data={"back": back, "front": PHOTO})
    made = pre_annotate(segmenter, payload_of(7, task, FRONT_AND_BACK, Options(), "v"))
    assert [region["from_name"] for region in made["result"]] == ["in front"] * 3


def test_an_image_that_may_come_another_time_is_asked_for_again(segmenter: DiscSegmenter) -> None:
    """The task has failed, so its next retrieval tries anew."""
    task = Task(id=1, data={"back": MISSING, "front": PHOTO})
    with pytest.raises(ImageUnavailable):
        pre_annotate(segmenter, payload_of(7, task, FRONT_AND_BACK, Options(), "v"))


def test_images_that_are_absent_are_not_encoded_ahead(segmenter: DiscSegmenter) -> None:
    assert prefetch(segmenter, payload_of(7, Task(id=1, data={"back": PHOTO}), FRONT_AND_BACK, Options(), "v")) == 1


def test_an_image_without_objects_and_a_configuration_that_takes_none_are_told(segmenter: DiscSegmenter) -> None:
    with pytest.raises(NothingFound):
        pre_annotate(segmenter, whole(image=EMPTY))
    config = EVERYTHING.replace('toName="image"', 'toName="image" maskloop_output="click"')
    with pytest.raises(NothingFound, match="maskloop_output"):
        pre_annotate(segmenter, whole(config))


def test_a_task_without_its_image_is_told(segmenter: DiscSegmenter) -> None:
    with pytest.raises(BadRequest, match="has no image"):
        pre_annotate(segmenter, payload_of(7, Task(id=1, data={}), EVERYTHING, Options(), "v"))


def test_jobs_carry_the_images_and_nothing_else_of_a_tasks_data() -> None:
    """Whatever else stands there, it can't keep a job from its queue."""
    data = {"front": "/a\ud83d.jpg", "back": 2**100, "note": "\ud83d", "count": 2**100}
    payload = payload_of(7, Task(id=1, data=data), FRONT_AND_BACK, Options(), "v")
    assert payload["task"] == {"id": 1, "images": {"front": ["/a\ufffd.jpg"], "back": []}}
    assert Serializer.loads(Serializer.dumps(payload)) == payload


def test_a_label_without_a_control_is_told(segmenter: DiscSegmenter) -> None:
    with pytest.raises(BadLabelConfig, match="'Bird'"):
        click(segmenter, asked(box(1, 1, 9, 9, label="Bird"), outputs=["brush"]))


@pytest.mark.weights
def test_a_worker_rehearses_a_click_that_gives_every_kind_of_region(official_weights: Path, tmp_path: Path) -> None:
    """So that the first click of a person finds all of it ready."""
    settings = Settings(weights_dir=official_weights.parent, data_dir=tmp_path)
    segmenter = open_segmenter(choose_engine(official_weights, "torch-cpu"), settings, model="model-1")
    made = click(segmenter, rehearsal("model-1"))
    assert {region["type"] for region in made["result"]} == {"brushlabels", "rectanglelabels", "polygonlabels"}
