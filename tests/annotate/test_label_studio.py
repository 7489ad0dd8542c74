"""The Label Studio output is what the project's labeling configuration asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskloop.annotate.label_studio import Addresses, Target, config_for, document
from maskloop.annotate.values import Annotated, AnnotateError, Source
from maskloop.errors import BadLabelConfig
from maskloop.geometry import label_studio_rle

MakePhoto = Callable[..., Annotated]
CATS_AND_DOGS = """<View><Image name="photo" value="$url"/>
<BrushLabels name="brush" toName="photo"><Label value="Cat"/><Label value="Dog"/></BrushLabels>
<RectangleLabels name="box" toName="photo"><Label value="Dog"/></RectangleLabels></View>"""
ANYWHERE = Addresses(prefix="https://host/")


def tasks(photos: list[Annotated], config: str, addresses: Addresses = ANYWHERE) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = json.loads("".join(document(photos, Target.of(config), addresses)))
    return parsed


def test_a_segment_fills_every_control_that_has_its_label(make_photo: MakePhoto) -> None:
    [task] = tasks([make_photo("a.jpg", (6, 4, 36, 24), label="Dog")], CATS_AND_DOGS)
    assert task["data"] == {"url": "https://host/a.jpg"}
    [prediction] = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("v1", 0.9)
    brush, box = prediction["result"]
    assert (brush["from_name"], brush["to_name"], brush["type"]) == ("brush", "photo", "brushlabels")
    assert brush["value"]["brushlabels"] == ["Dog"]
    assert (brush["original_width"], brush["original_height"], brush["score"]) == (60, 40, 0.9)
    pixels = label_studio_rle.decode(brush["value"]["rle"], 40, 60)
    assert pixels[4:24, 6:36].all()
    assert pixels.sum() == 600
    assert {key: box["value"][key] for key in ("x", "y", "width", "height")} == pytest.approx(
        {"x": 10, "y": 10, "width": 50, "height": 50}
    )


def test_a_label_of_one_control_alone_goes_there_alone(make_photo: MakePhoto) -> None:
    [task] = tasks([make_photo("a.jpg", (6, 4, 36, 24), label="Cat")], CATS_AND_DOGS)
    assert [region["from_name"] for region in task["predictions"][0]["result"]] == ["brush"]


def test_controls_that_are_for_clicks_get_none_and_those_for_batches_do(make_photo: MakePhoto) -> None:
    config = CATS_AND_DOGS.replace('name="brush"', 'name="brush" maskloop_output="batch"').replace(
        'name="box"', 'name="box" maskloop_output="click"'
    )
    [task] = tasks([make_photo("a.jpg", (6, 4, 36, 24), label="Dog")], config)
    assert [region["from_name"] for region in task["predictions"][0]["result"]] == ["brush"]


def test_automatic_masks_have_the_only_label_or_none_for_the_annotator_to_choose(make_photo: MakePhoto) -> None:
    assert Target.of(config_for(["Thing"])).label() == "Thing"
    two = config_for(["Cat", "Dog"])
    assert Target.of(two).label() == ""
    [task] = tasks([make_photo("a.jpg", (6, 4, 36, 24), label="")], two)
    assert [region["value"]["brushlabels"] for region in task["predictions"][0]["result"]] == [[]]


def test_a_photo_without_segments_is_a_task_without_a_prediction(make_photo: MakePhoto) -> None:
    assert tasks([make_photo("a.jpg")], CATS_AND_DOGS) == [{"data": {"url": "https://host/a.jpg"}, "predictions": []}]


def test_a_class_that_no_control_has_is_refused_before_any_work() -> None:
    with pytest.raises(AnnotateError, match="no place for 'Horse'"):
        Target.of(CATS_AND_DOGS).check(["Dog", "Horse"])


@pytest.mark.parametrize(
    "config",
    [
        "",
        "<View>",
        '<View><Image name="a" value="$a"/></View>',
        CATS_AND_DOGS.replace("<Image", '<Image name="other" value="$other"/><Image'),
        CATS_AND_DOGS.replace("$url", "$urls[0].large"),
    ],
)
def test_a_configuration_that_photos_cannot_fill_is_refused(config: str) -> None:
    with pytest.raises((AnnotateError, BadLabelConfig)):
        Target.of(config)


def test_pages_are_a_list_of_one(make_photo: MakePhoto) -> None:
    config = CATS_AND_DOGS.replace('value="$url"', 'valueList="$urls"')
    [task] = tasks([make_photo("a.jpg", (6, 4, 36, 24), label="Cat")], config)
    assert task["data"] == {"urls": ["https://host/a.jpg"]}
    assert task["predictions"][0]["result"][0]["item_index"] == 0


@pytest.mark.parametrize("label", ["naïve ☃", "<a & 'b' \">", "a,b"])
def test_the_default_configuration_takes_any_label(label: str, make_photo: MakePhoto) -> None:
    [task] = tasks([make_photo("a.jpg", (6, 4, 36, 24), label=label)], config_for([label]))
    assert task["predictions"][0]["result"][0]["value"]["brushlabels"] == [label]


def address(reference: str, name: str = "a b?.jpg", root: str | None = None, prefix: str | None = None) -> str:
    return Addresses(Path(root) if root else None, prefix).of(Source(reference, name))


def test_how_label_studio_reaches_a_photo() -> None:
    assert address("s3://bucket/a b.jpg") == "s3://bucket/a b.jpg"
    assert address("https://host/a.jpg?sig=1") == "https://host/a.jpg?sig=1"
    assert address("/srv/photos/x/ä b&?.jpg", root="/srv") == "/data/local-files/?d=photos/x/%C3%A4%20b%26%3F.jpg"
    assert address("/srv/photos/a.jpg", prefix="s3://bucket/") == "s3://bucket/a b?.jpg"
    assert address("/srv/photos/a.jpg", prefix="https://host/") == "https://host/a%20b%3F.jpg"
    with pytest.raises(AnnotateError, match="can't see"):
        address("/srv/photos/a.jpg")
    with pytest.raises(AnnotateError, match="not below /srv"):
        address("/home/a.jpg", root="/srv")
