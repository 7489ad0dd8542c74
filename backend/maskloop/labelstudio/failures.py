"""How people in Label Studio get to see that there is no mask, and why.

What Label Studio 1.23 does, as seen in its pages:

- A click that fails: whatever status or body the backend answers, the editor shows nothing; ``errors`` in the answer of
  ``interactive-annotating`` has the status line, for those who call the API. A prediction, though, may put text into a
  ``<TextArea>`` of the labeling configuration: its region isn't a suggestion to accept but shows at once, and an empty
  text takes it away again. So one that is marked ``maskloop_messages="true"`` shows why a click gave no mask, until the
  next click gives one. Without such a control the error stays an error: the server answers with its status. It needs
  an object of its own: the editor accepts that region by itself and gives it all labels chosen on its object, and each
  later answer chooses them again. An empty ``<Text>`` shows nothing, and isn't taken for a field of the tasks' data, as
  any word in it is when Label Studio exports.
- A task that can't be pre-annotated: a prediction without regions whose version says why. It shows as a tab of the
  task and in the Data Manager's column of versions, doesn't count as one of the model's version, and so the next
  retrieval tries the task again.
"""

from __future__ import annotations

import re
from typing import Any

from maskloop.errors import BadLabelConfig, MaskloopError
from maskloop.labelstudio.label_config import LabelConfig
from maskloop.labelstudio.regions import Region

Json = dict[str, Any]
PLACE = re.compile(r"\S*/\S*[^\s.,:;)]")
"""A path or an address. Left out of versions: equal reasons make one version, not one for each image."""
LONGEST = 200


def failed_version(version: str, error: MaskloopError) -> str:
    return f"{failed_prefix(version)} {PLACE.sub('…', error.message).rstrip('.')}"[:LONGEST]


def failed_prefix(version: str) -> str:
    """How the versions of failed predictions begin."""
    return f"{version} failed:"


def failed_prediction(error: MaskloopError, version: str, label_config: str) -> Json:
    """What is stored for a task that can't be pre-annotated."""
    return {"result": message_of(error, label_config), "score": None, "model_version": failed_version(version, error)}


def message_of(error: MaskloopError, label_config: str) -> list[Region]:
    """The error as a region of the configuration's control for messages; none if it has no such control."""
    try:
        return message(LabelConfig.parse(label_config), str(error))
    except BadLabelConfig:
        return []


def message(config: LabelConfig, text: str = "") -> list[Region]:
    """A region that shows ``text``, or takes away what is shown. None if the configuration has no place for it."""
    if config.messages is None:
        return []
    name, shown_on = config.messages
    value = {"text": [text] if text else []}
    return [{"id": "maskloop-message", "from_name": name, "to_name": shown_on, "type": "textarea", "value": value}]
