"""A project's labeling configuration: which images, which controls, what maskloop may fill and what prompts it.

Tags and attributes are those of https://labelstud.io/tags, in any case. maskloop reads these attributes besides:

==================== ======================== ===============================================================
attribute            on                       meaning
==================== ======================== ===============================================================
maskloop_output      Brush..., Rectangle...,  ``all`` (default), ``click``, ``batch`` or ``none``: whether answers
                     Polygon...               to clicks and automatic predictions put regions here
maskloop_label       the same, or Labels      the label of automatic predictions, where there are several
maskloop_tolerance   Polygon...               pixels by which a polygon may leave the mask's outline
maskloop_pick        KeyPoint...              ``true``: clicks pick from the automatic masks, if one fits
maskloop_messages    TextArea on a Text       ``true``: tells the annotator why a click gave no mask
==================== ======================== ===============================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from maskloop.errors import BadLabelConfig, BadRequest
from maskloop.labelstudio.controls import Control, ImageTag, Label, LabelControl, Labels, Output, Purpose, Shape

NAMED = 10
"""Labels that a message names, at most."""
EXAMPLE = '<BrushLabels name="brush" toName="image"><Label value="Object"/></BrushLabels>'
PROMPT_EXAMPLE = '<KeyPointLabels name="point" toName="image" smart="true"><Label value="Object"/></KeyPointLabels>'

MISPLACED = (
    "The control {!r} for messages isn't used: on an image, Label Studio gives its messages labels, and changes the one"
    " that the annotator chose. Give it an object of its own: "
    '<Text name="notice" value=""/>, and toName="notice".'
)
UNKNOWN = "maskloop_label={!r} on {!r} is none of its labels, so automatic masks don't get it."


@dataclass(frozen=True, slots=True)
class LabelConfig:
    images: Mapping[str, ImageTag]
    controls: Mapping[str, Control]
    namings: tuple[LabelControl, ...]
    messages: tuple[str, str] | None
    """Name and object of the control that shows messages."""
    advice: str = ""
    """What is wrong with the configuration, though it can be used."""

    @staticmethod
    def parse(xml: str) -> LabelConfig:
        """Raises BadLabelConfig, with what to add, if maskloop can put no mask into any control."""
        return _parse(xml)

    def images_in(self, data: Mapping[str, Any]) -> dict[str, list[str]]:
        """The images of a task by the names of their tags, as they stand in its data."""
        return {name: tag.found_in(data) for name, tag in self.images.items()}

    def label_of_prompt(self, prompt: Control, name: str) -> Label:
        """The label that a prompt carries. Raises BadRequest if the configuration doesn't have it."""
        own = [prompt.labels] if prompt.labels else [naming.labels for naming in self._namings(prompt.image)]
        found = next((label for labels in own if (label := labels.called(name))), None)
        if found is None:
            all_labels = [repr(label.written) for labels in own for label in labels.all]
            more = f" and {len(all_labels) - NAMED} more" if len(all_labels) > NAMED else ""
            known = (", ".join(all_labels[:NAMED]) or "none") + more
            raise BadRequest(
                f"The label {name!r} isn't in the labeling configuration; {prompt.name!r} has {known}.",
                "Reload the page if the configuration was changed.",
            )
        return found

    def outputs(
        self, image: str, label: Label | None, wanted: Sequence[str] | None = None, purpose: Purpose = "click"
    ) -> list[Output]:
        """Where a mask on ``image`` goes: every control there that serves the purpose and can hold the mask's label.

        Smart controls are for prompts, and hold the mask only where no other does. ``wanted`` narrows it to shapes
        or names of controls. Raises BadLabelConfig if nothing is left.
        """
        able = [
            output
            for control in self._on(image)
            if control.serves(purpose) and (output := self._with_label(control, label))
        ]
        for choice in (
            [output for output in able if not output.control.smart],
            [output for output in able if output.control.shape is not Shape.RECTANGLE],
            able,
        ):
            if kept := _narrow(choice, wanted):
                return kept
        what = f"a mask with the label {label.written!r}" if label else "a mask"
        raise BadLabelConfig(
            f"No control on the image {image!r} {'that was asked for ' if wanted else ''}can hold {what}.",
            f"Add the label to one, or a control such as {EXAMPLE}.",
        )

    def automatic_outputs(self, image: str, wanted: Sequence[str] | None = None, default: str = "") -> list[Output]:
        """Where automatic masks of ``image`` go, each with the label that they get, if any.

        A control of one label gives that one. Of several: the one that ``maskloop_label`` or ``default`` names, else
        none: the annotator selects the region and picks a label.
        """
        able = [self._with_default(control, default) for control in self._on(image) if control.serves("batch")]
        plain = [output for output in able if not output.control.smart]
        return _narrow(plain or able, wanted)

    def named(self, outputs: Sequence[Output], name: str | None) -> list[Output]:
        """The outputs, with the label of this name in those that have none and know it."""
        if name is None:
            return list(outputs)
        label = Label(name)
        return [output if output.label else (self._with_label(output.control, label) or output) for output in outputs]

    def prompts(self) -> list[Control]:
        """The smart controls whose shapes prompt a mask."""
        return [c for c in self.controls.values() if c.smart and c.shape in (Shape.KEYPOINT, Shape.RECTANGLE)]

    def _on(self, image: str) -> Iterator[Control]:
        return (c for c in self.controls.values() if c.image == image and c.shape is not Shape.KEYPOINT)

    def _namings(self, image: str) -> list[LabelControl]:
        return [naming for naming in self.namings if naming.image == image]

    def _with_label(self, control: Control, label: Label | None) -> Output | None:
        if label is None:
            return Output(control, control.labels.only if control.labels else None)
        if control.labels:
            own = control.labels.find(label)
            return Output(control, own) if own else None
        for naming in self._namings(control.image):
            if own := naming.labels.find(label):
                return Output(control, own, naming)
        return None

    def _with_default(self, control: Control, default: str) -> Output:
        if control.labels:
            return Output(control, _default(control.labels, control.default_label or default))
        for naming in self._namings(control.image):
            if label := _default(naming.labels, control.default_label or naming.default_label or default):
                return Output(control, label, naming)
        return Output(control, None)


def _default(labels: Labels, name: str) -> Label | None:
    named = labels.called(name) if name else None
    return named or labels.only


def _narrow(outputs: list[Output], wanted: Sequence[str] | None) -> list[Output]:
    if wanted is None:
        return outputs
    return [output for output in outputs if output.control.name in wanted or output.control.shape in wanted]


@lru_cache(maxsize=64)
def _parse(xml: str) -> LabelConfig:
    hint = f"Add <Image> and a control, for example {EXAMPLE} and {PROMPT_EXAMPLE}."
    if not xml.strip():
        raise BadLabelConfig("The project has no labeling configuration.", hint)
    try:
        root = fromstring(xml, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise BadLabelConfig(f"The labeling configuration is no valid XML: {error}.") from error
    tags = [(element.tag.lower(), _Attributes(element)) for element in root.iter() if isinstance(element.tag, str)]
    repeaters = (element for element in root.iter() if str(element.tag).lower() == "repeater")
    if any(str(element.tag).lower() == "image" for repeater in repeaters for element in repeater.iter()):
        raise BadLabelConfig(
            "An <Image> in a <Repeater> isn't supported.",
            'Show the images as pages of one: <Image name="image" valueList="$images"/>.',
        )
    images = {tag.name: tag for kind, found in tags if kind == "image" and (tag := _image(found))}
    if not images:
        raise BadLabelConfig("The labeling configuration shows no image.", 'Add <Image name="image" value="$image"/>.')
    controls = {
        control.name: control for kind, found in tags if (control := _control(kind, found)) and control.image in images
    }
    if not any(control.shape is not Shape.KEYPOINT for control in controls.values()):
        raise BadLabelConfig("The labeling configuration has no control that can hold a mask.", hint)
    namings = tuple(
        LabelControl(found.get("name"), image, found.labels(), found.get("maskloop_label"))
        for kind, found in tags
        if kind == "labels"
        for image in found.objects
        if image in images
    )
    areas = [
        (found.get("name"), found.objects[0])
        for kind, found in tags
        if kind == "textarea" and found.flag("maskloop_messages") and found.objects
    ]
    messages = next((area for area in areas if area[1] not in images), None)
    advice = [MISPLACED.format(name) for name, shown_on in areas if shown_on in images]
    advice += [UNKNOWN.format(one.default_label, one.name) for one in _with_unknown_default(controls.values(), namings)]
    return LabelConfig(images, controls, namings, messages, " ".join(advice))


def _with_unknown_default(
    controls: Iterable[Control], namings: Sequence[LabelControl]
) -> Iterator[Control | LabelControl]:
    both: list[Control | LabelControl] = [*controls, *namings]
    for one in both:
        able = [one.labels] if one.labels else [naming.labels for naming in namings if naming.image == one.image]
        if one.default_label and not any(labels.called(one.default_label) for labels in able):
            yield one


class _Attributes:
    """A tag's attributes by lower-case name."""

    def __init__(self, element: Element) -> None:
        self._element = element
        self._all = {name.lower(): value for name, value in element.attrib.items()}

    def get(self, name: str) -> str:
        return self.exactly(name).strip()

    def exactly(self, name: str) -> str:
        """With the spaces around it, which Label Studio keeps in labels."""
        return self._all.get(name, "")

    def flag(self, name: str) -> bool:
        return self.get(name).lower() == "true"

    @property
    def objects(self) -> list[str]:
        return [name.strip() for name in self.get("toname").split(",") if name.strip()]

    def labels(self) -> Labels:
        found = [_Attributes(child) for child in self._element.iter() if str(child.tag).lower() == "label"]
        return Labels(
            tuple(Label(label.exactly("value"), label.exactly("alias")) for label in found if label.get("value")),
            from_data=self.get("value").startswith("$"),
        )

    def choice(self, name: str, choices: Sequence[str]) -> str:
        value = self.get(name).lower() or choices[0]
        if value not in choices:
            raise BadLabelConfig(f"{name}={value!r} on {self.get('name')!r}: it is one of {', '.join(choices)}.")
        return value

    def number(self, name: str) -> float | None:
        text = self.get(name)
        try:
            value = float(text) if text else None
        except ValueError:
            value = -1.0
        if value is not None and not 0 <= value <= 100:
            raise BadLabelConfig(f"{name}={text!r} on {self.get('name')!r}: it is a number of pixels from 0 to 100.")
        return value


def _image(found: _Attributes) -> ImageTag | None:
    if not found.get("name"):
        return None
    several = found.get("valuelist")
    return ImageTag(found.get("name"), several or found.get("value"), several=bool(several))


def _control(tag: str, found: _Attributes) -> Control | None:
    shape = tag.removesuffix("labels")
    if shape not in set(Shape) or not found.get("name") or not found.objects:
        return None
    return Control(
        found.get("name"),
        found.objects[0],
        Shape(shape),
        found.labels() if tag.endswith("labels") else None,
        smart=found.flag("smart") or found.flag("smartonly"),
        output=found.choice("maskloop_output", ("all", "click", "batch", "none")),
        default_label=found.get("maskloop_label"),
        tolerance=found.number("maskloop_tolerance"),
        picks=found.flag("maskloop_pick") and shape == Shape.KEYPOINT,
        by_hand=found.get("smart").lower() == "false",
    )
