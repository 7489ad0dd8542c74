"""What a labeling configuration lets maskloop do, and what it says of one that lets it do nothing."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelstudio.discs import EVERYTHING
from maskloop.errors import BadLabelConfig, BadRequest
from maskloop.labelstudio.controls import ImageTag, Label, Output, Shape
from maskloop.labelstudio.label_config import EXAMPLE, PROMPT_EXAMPLE, LabelConfig

DOG, CAT, BIRD = Label("Dog"), Label("Cat"), Label("Bird")


def view(*tags: str) -> LabelConfig:
    return LabelConfig.parse(f"<View>{''.join(tags)}<Image name='image' value='$image'/></View>")


def names(outputs: list[Output]) -> list[str]:
    return [output.control.name for output in outputs]


BRUSH = '<BrushLabels name="brush" toName="image" {}><Label value="Dog"/>{}</BrushLabels>'


def test_a_prompt_goes_to_every_control_that_has_its_label() -> None:
    config = LabelConfig.parse(EVERYTHING)
    assert names(config.outputs("image", DOG)) == ["brush", "box", "outline"]
    assert names(config.outputs("image", CAT)) == ["brush", "box"]


def test_where_no_other_control_has_the_label_the_smart_rectangle_itself_takes_the_answer() -> None:
    assert names(LabelConfig.parse(EVERYTHING).outputs("image", BIRD)) == ["smartbox"]


def test_a_smart_brush_takes_the_answer_rather_than_a_smart_rectangle() -> None:
    config = view(
        BRUSH.format('smart="true"', ""),
        '<RectangleLabels name="r" toName="image" smart="true"><Label value="Dog"/></RectangleLabels>',
    )
    assert names(config.outputs("image", DOG)) == ["brush"]


def test_what_is_asked_for_narrows_the_answer_by_shape_or_name() -> None:
    config = LabelConfig.parse(EVERYTHING)
    assert names(config.outputs("image", DOG, ["rectangle"])) == ["box"]
    assert names(config.outputs("image", DOG, ["smartbox", "outline"])) == ["outline"]
    assert names(config.outputs("image", DOG, ["smartbox"])) == ["smartbox"]
    with pytest.raises(BadLabelConfig, match="asked for"):
        config.outputs("image", CAT, ["polygon"])


def test_a_label_that_no_control_has_is_told_with_what_to_add() -> None:
    config = view(
        BRUSH.format("", ""),
        '<KeyPointLabels name="p" toName="image" smart="true"><Label value="Fox"/></KeyPointLabels>',
    )
    with pytest.raises(BadLabelConfig, match=r"'Fox'.*Add the label"):
        config.outputs("image", Label("Fox"))


def test_one_label_is_the_label_of_automatic_regions() -> None:
    (output,) = view(BRUSH.format("", "")).automatic_outputs("image")
    assert output.label == DOG


def test_of_several_labels_automatic_regions_get_none_unless_one_is_named() -> None:
    cat = '<Label value="Cat"/>'
    (output,) = view(BRUSH.format("", cat)).automatic_outputs("image")
    assert output.label is None
    (output,) = view(BRUSH.format('maskloop_label="Cat"', cat)).automatic_outputs("image")
    assert output.label == CAT
    (output,) = view(BRUSH.format("", cat)).automatic_outputs("image", default="Cat")
    assert output.label == CAT
    (output,) = view(BRUSH.format("", cat)).automatic_outputs("image", default="Fox")
    assert output.label is None


def test_a_control_can_be_kept_for_clicks_or_for_batches_or_left_alone() -> None:
    for value, click, batch in (("all", 1, 1), ("click", 1, 0), ("batch", 0, 1), ("none", 0, 0)):
        config = view(
            BRUSH.format(f'maskloop_output="{value}"', ""), '<Polygon name="p" toName="image" maskloop_output="none"/>'
        )
        assert len(config.automatic_outputs("image")) == batch
        if click:
            assert names(config.outputs("image", DOG)) == ["brush"]
        else:
            with pytest.raises(BadLabelConfig):
                config.outputs("image", DOG)


def test_masks_of_a_known_label_go_where_their_purpose_is_served() -> None:
    config = view(
        BRUSH.format('maskloop_output="batch"', ""),
        '<RectangleLabels name="r" toName="image" maskloop_output="click"><Label value="Dog"/></RectangleLabels>',
    )
    assert names(config.outputs("image", DOG)) == ["r"]
    assert names(config.outputs("image", DOG, purpose="batch")) == ["brush"]


def test_a_class_names_the_outputs_that_have_no_label_and_know_it() -> None:
    config = LabelConfig.parse(EVERYTHING)
    outputs = config.automatic_outputs("image")
    assert [output.label for output in config.named(outputs, "Cat")] == [CAT, CAT, DOG]
    assert config.named(outputs, "Fox") == config.named(outputs, None) == outputs
    config = view(
        '<Brush name="b" toName="image"/>',
        '<Labels name="n" toName="image"><Label value="Dog"/><Label value="Cat"/></Labels>',
    )
    (output,) = config.named(config.automatic_outputs("image"), "Cat")
    assert (output.label, output.naming and output.naming.name) == (CAT, "n")


def test_key_points_may_pick_from_the_automatic_masks() -> None:
    point = '<KeyPoint name="{}" toName="image" smart="true" {}/>'
    config = view('<Brush name="b" toName="image" maskloop_pick="true"/>', point.format("p", 'maskloop_pick="true"'))
    assert [control.name for control in config.controls.values() if control.picks] == ["p"]
    assert not view('<Brush name="b" toName="image"/>', point.format("p", "")).controls["p"].picks


def test_controls_without_labels_are_named_by_labels_tags() -> None:
    config = view(
        '<Brush name="brush" toName="image"/>', '<Labels name="names" toName="image"><Label value="Dog"/></Labels>'
    )
    (output,) = config.outputs("image", DOG)
    assert (output.control.type, output.label, output.naming and output.naming.name) == ("brush", DOG, "names")
    (output,) = config.automatic_outputs("image")
    assert (output.label, output.naming and output.naming.name) == (DOG, "names")


def test_controls_without_any_labels_take_masks_without_one() -> None:
    config = view('<Rectangle name="box" toName="image"/>', '<KeyPoint name="p" toName="image" smart="true"/>')
    assert config.outputs("image", None) == [Output(config.controls["box"], None)]
    assert config.automatic_outputs("image") == [Output(config.controls["box"], None)]


def test_a_prompt_without_a_label_gets_the_only_label_there_is() -> None:
    config = view(BRUSH.format("", ""), '<KeyPoint name="p" toName="image" smart="true"/>')
    assert config.outputs("image", None) == [Output(config.controls["brush"], DOG)]


def test_an_alias_is_what_is_written_and_either_name_is_understood() -> None:
    config = view(
        '<BrushLabels name="brush" toName="image"><Label value="Dog" alias="d"/></BrushLabels>',
        '<KeyPointLabels name="p" toName="image" smart="true"><Label value="Dog"/></KeyPointLabels>',
    )
    label = config.label_of_prompt(config.controls["p"], "Dog")
    (output,) = config.outputs("image", label)
    assert output.label is not None
    assert output.label.written == "d"
    assert config.label_of_prompt(config.controls["brush"], "d") == Label("Dog", "d")


def test_an_unknown_label_is_refused_with_those_that_are_known() -> None:
    config = LabelConfig.parse(EVERYTHING)
    with pytest.raises(BadRequest, match=r"'Fox' isn't in .* 'Dog', 'Cat'"):
        config.label_of_prompt(config.controls["point"], "Fox")


def test_of_many_labels_ten_are_named() -> None:
    labels = "".join(f'<Label value="Kind {number}"/>' for number in range(500))
    config = view(f'<RectangleLabels name="box" toName="image" smart="true">{labels}</RectangleLabels>')
    with pytest.raises(BadRequest, match=r"'Kind 9' and 490 more\.") as told:
        config.label_of_prompt(config.controls["box"], "Fox")
    assert "Kind 10'" not in str(told.value)


def test_a_label_keeps_its_spaces() -> None:
    """As in the editor's prompts and annotations."""
    config = view('<BrushLabels name="brush" toName="image"><Label value="Dog " alias=" d"/></BrushLabels>')
    assert [output.label for output in config.automatic_outputs("image")] == [Label("Dog ", " d")]


def test_one_label_beside_those_of_the_tasks_is_not_the_only_one() -> None:
    config = view('<BrushLabels name="brush" toName="image" value="$kinds"><Label value="Other"/></BrushLabels>')
    assert [output.label for output in config.automatic_outputs("image")] == [None]
    assert [output.label for output in config.outputs("image", None)] == [None]


def test_labels_that_stand_in_the_tasks_are_all_welcome() -> None:
    config = view('<BrushLabels name="b" toName="image" value="$classes"/>')
    assert config.label_of_prompt(config.controls["b"], "Anything").written == "Anything"
    assert names(config.outputs("image", Label("Anything"))) == ["b"]


def test_each_image_has_its_own_controls() -> None:
    config = LabelConfig.parse(
        """<View>
        <Image name="left" value="$left"/><Image name="right" value="$photos.right[1]"/>
        <BrushLabels name="bl" toName="left"><Label value="Dog"/></BrushLabels>
        <PolygonLabels name="pr" toName="right"><Label value="Dog"/></PolygonLabels></View>"""
    )
    assert names(config.outputs("left", DOG)) == ["bl"]
    assert names(config.automatic_outputs("right")) == ["pr"]
    data = {"left": "/a.jpg", "photos": {"right": ["x", "/b.jpg"]}}
    assert config.images_in(data) == {"left": ["/a.jpg"], "right": ["/b.jpg"]}


@pytest.mark.parametrize(
    ("value", "data", "reference"),
    [
        ("$image", {"image": "/a.jpg"}, "/a.jpg"),
        ("$meta.files[0].url", {"meta": {"files": [{"url": "/a.jpg"}]}}, "/a.jpg"),
        ("$meta.url", {"meta.url": "/flat.jpg"}, "/flat.jpg"),
        ("https://host/$name", {"name": "a.jpg"}, "https://host/a.jpg"),
        ("image", {"image": "/a.jpg"}, "/a.jpg"),
        ("$image", {"image": "/a\ud83d.jpg"}, "/a\ufffd.jpg"),
    ],
)
def test_an_image_is_found_in_the_task_as_label_studio_finds_it(value: str, data: dict, reference: str) -> None:
    assert ImageTag("image", value).found_in(data) == [reference]


@pytest.mark.parametrize("data", [{}, {"image": ""}, {"image": None}, {"image": 3}, {"image": ["a", "b"]}])
def test_a_task_without_the_image_is_told(data: dict) -> None:
    tag = ImageTag("image", "$image")
    with pytest.raises(BadRequest, match="has no image"):
        tag.of({"image": tag.found_in(data)})


def test_a_list_of_images_is_pages() -> None:
    config = LabelConfig.parse('<View><Image name="image" valueList="$pages"/><Brush name="b" toName="image"/></View>')
    assert config.images["image"].found_in({"pages": ["/a.jpg", "/b.jpg"]}) == ["/a.jpg", "/b.jpg"]


def test_the_control_for_messages_is_found() -> None:
    area = '<Text name="notice" value=""/><TextArea name="why" toName="notice" {}/>'
    assert view(BRUSH.format("", ""), area.format("")).messages is None
    assert view(BRUSH.format("", ""), area.format('maskloop_messages="true"')).messages == ("why", "notice")


def test_a_control_for_messages_on_an_image_is_advised_against() -> None:
    """Label Studio would choose other labels than the annotator."""
    area = '<TextArea name="why" toName="image" maskloop_messages="true"/>'
    config = view(BRUSH.format("", ""), area)
    assert config.messages is None
    assert "'why'" in config.advice
    assert view(BRUSH.format("", "")).advice == ""


def test_an_automatic_label_that_is_none_is_advised_against() -> None:
    labels = '<Label value="Cat"/><Label value="Dog" alias="d"/>'
    assert "maskloop_label='Car' on 'brush'" in view(BRUSH.format('maskloop_label="Car"', labels)).advice
    for known in ("Cat", "Dog", "d"):
        assert view(BRUSH.format(f'maskloop_label="{known}"', labels)).advice == ""
    assert view(BRUSH.format('value="$classes" maskloop_label="Car"', "")).advice == "", "tasks bring their own labels"
    naming = '<Labels name="class" toName="image" maskloop_label="{}"><Label value="Cat"/></Labels>'
    plain = '<Brush name="plain" toName="image" {}/>'
    assert view(plain.format('maskloop_label="Cat"'), naming.format("Cat")).advice == ""
    advice = view(plain.format('maskloop_label="Car"'), naming.format("Bus")).advice
    assert "'Car' on 'plain'" in advice
    assert "'Bus' on 'class'" in advice


def test_tags_and_attributes_are_read_in_any_case() -> None:
    config = LabelConfig.parse(
        '<view><image NAME="image" Value="$image"/>'
        '<brushlabels name="b" toname="image" SMART="True"><label value="Dog"/></brushlabels></view>'
    )
    assert config.controls["b"].smart
    assert config.controls["b"].shape is Shape.BRUSH


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        ("", "no labeling configuration"),
        ("<View>", "no valid XML"),
        ("<View/>", "shows no image"),
        ("<View><Image name='image' value='$image'/></View>", "no control that can hold a mask"),
        (f"<View><Image name='image' value='$image'/>{PROMPT_EXAMPLE}</View>", "no control that can hold a mask"),
        ("<View><Image name='image' value='$i'/><Choices name='c' toName='image'/></View>", "no control"),
        ("<View><Image name='other' value='$i'/>" + EXAMPLE + "</View>", "no control that can hold a mask"),
        ("<View><Image name='image' value='$i'/><Brush name='b' toName='image' maskloop_output='x'/></View>", "one of"),
        (f"<View><Repeater on='$i'><Image name='i{{{{idx}}}}' value='$i'/></Repeater>{EXAMPLE}</View>", "valueList"),
        (
            "<View><Image name='image' value='$i'/><Polygon name='b' toName='image' maskloop_tolerance='x'/></View>",
            "pixels",
        ),
    ],
)
def test_a_configuration_that_is_of_no_use_says_what_is_missing(xml: str, told: str) -> None:
    with pytest.raises(BadLabelConfig, match=told):
        LabelConfig.parse(xml)


def test_the_example_in_the_advice_works() -> None:
    config = view(EXAMPLE, PROMPT_EXAMPLE)
    assert [control.name for control in config.prompts()] == ["point"]
    assert names(config.outputs("image", Label("Object"))) == ["brush"]


def test_entities_are_refused() -> None:
    bomb = '<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><View>&b;</View>'
    with pytest.raises(BadLabelConfig, match="no valid XML"):
        LabelConfig.parse(bomb)


@given(st.text(max_size=80))
def test_nothing_else_than_a_bad_configuration_comes_of_garbage(text: str) -> None:
    for xml in (text, f"<View>{text}</View>", f"<View><Image name='image' value='{text}'/></View>"):
        with pytest.raises(BadLabelConfig):
            LabelConfig.parse(xml)


def test_the_demos_configuration_gives_clicks_masks_and_boxes_and_batches_labelled_masks() -> None:
    config = LabelConfig.parse((Path(__file__).parents[2] / "label_config.xml").read_text())
    assert [control.shape for control in config.prompts()] == [Shape.KEYPOINT, Shape.RECTANGLE]
    for control in config.prompts():
        assert control.labels is not None
        for label in control.labels.all:
            assert names(config.outputs("image", label)) == ["brush", "rectangle"]
    (automatic,) = config.automatic_outputs("image")
    assert (automatic.control.name, automatic.label) == ("brush", Label("Object"))
    assert config.messages == ("message", "notice")
    assert config.advice == ""
