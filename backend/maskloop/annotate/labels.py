"""Which classes a run has, and which of them its automatic masks get."""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence
from pathlib import Path

from maskloop.annotate.detections import Detections
from maskloop.annotate.label_studio import Target
from maskloop.annotate.values import AnnotateError
from maskloop.learning.classes import Classes


def read_file(path: Path) -> bytes:
    """Without the mark of UTF-8 that some editors put first. Raises AnnotateError if it can't be read."""
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise AnnotateError(f"{path} can't be read: {error.strerror}.") from error


def class_names(classes: str | None) -> tuple[str, ...]:
    """Those of --classes: a file with one a line, or the names with commas between. Raises AnnotateError."""
    if classes is None:
        return ()
    listed = _lines(Path(classes)) if os.path.isfile(classes) else classes.split(",")  # noqa: PTH113  # long lists too
    names = [name.strip() for name in listed if name.strip()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise AnnotateError(f"--classes names {', '.join(twice)} twice." if twice else "--classes is empty.")
    return tuple(names)


def _lines(path: Path) -> list[str]:
    try:
        return read_file(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise AnnotateError(f"{path} is no text in UTF-8.", "Save it in that encoding.") from error


def all_labels(
    given: Sequence[str],
    label: str | None,
    detections: Detections | None,
    target: Target | None,
    learned: Classes | None,
) -> tuple[Sequence[str], str]:
    """All classes, and that of automatic masks, of those of which ``learned`` is unsure.

    given, label: what --classes and --label say. Raises AnnotateError where these contradict one another or the rest.
    """
    classes = given
    if detections is not None:
        if label is not None or learned is not None:
            asks = "--label" if label is not None else "--classifier"
            raise AnnotateError(f"{asks} names automatic masks, and --boxes asks for none.", "Leave one of them out.")
        classes, label = detections.labels, ""
    elif label is None and len(classes) > 1 and learned is None:
        raise AnnotateError(
            f"There are {len(classes)} classes, and automatic masks don't know theirs.",
            "Say with --label which one they get, bring boxes with --boxes, or learned classes with --classifier.",
        )
    elif learned is not None:
        unsure = "object" if target is None else ""
        label = unsure if label is None else label
        wanted = [*learned.names, *filter(None, [label])]
        if lacking := [name for name in learned.names if classes and name not in classes]:
            raise AnnotateError(f"The learned classes {', '.join(lacking)} are not among: {', '.join(classes)}.")
        classes = tuple(dict.fromkeys([*classes, *wanted])) if label == unsure else classes or tuple(wanted)
    elif label is None:
        label = next(iter(classes), target.label() if target else "object")
    if label and classes and label not in classes:
        raise AnnotateError(f"--label {label} is not among the classes: {', '.join(classes)}.")
    classes = classes or (label,)
    if target is not None:
        target.check(classes)
    return classes, label
