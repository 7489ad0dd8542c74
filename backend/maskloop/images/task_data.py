"""Which image a labeling configuration means in a task's data, and text that may stand there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

VARIABLE = re.compile(r"\$[\w\[\].{}]+")
STEP = re.compile(r"[^.\[\]{}]+")
LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")


def resolve(value: str, data: Mapping[str, Any]) -> Any:
    """What Label Studio's ``value`` ("$image", "$photos[0].url", "https://host/$name") is in a task's data, or None."""
    if VARIABLE.fullmatch(value):
        return _look_up(value, data)
    if not VARIABLE.search(value):
        return value if ":" in value or value.startswith("/") else data.get(value)
    return VARIABLE.sub(lambda found: str(_look_up(found[0], data) or ""), value)


def well_formed(text: str) -> str:
    """``text`` with U+FFFD, as browsers have it, in place of half characters: JSON can name them, UTF-8 can't."""
    return LONE_SURROGATE.sub("\ufffd", text)


def _look_up(variable: str, data: Any) -> Any:
    if isinstance(data, Mapping) and variable[1:] in data:
        return data[variable[1:]]
    for step in STEP.findall(variable[1:]):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data
