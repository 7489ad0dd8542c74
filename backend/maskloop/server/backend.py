"""What the routes call; :mod:`maskloop.labelstudio` has it."""

from __future__ import annotations

from typing import Any, Protocol

Json = dict[str, Any]


class Backend(Protocol):
    """Takes the bodies of Label Studio's requests, answers with bodies. Thread-safe; the calls may block.

    Raises MaskloopError: its message goes to who asked, with the status that its code has.
    """

    @property
    def version(self) -> str:
        """The model version that new predictions carry; cheap."""
        ...

    def setup(self, body: Json) -> Json:
        """``POST /setup``; cheap, because Label Studio asks whenever it shows the backend."""
        ...

    def predict(self, body: Json) -> Json:
        """``POST /predict``: a click, or tasks to pre-annotate. Blocks until the answer is there."""
        ...

    def receive(self, body: Json) -> None:
        """``POST /webhook``: returns as soon as the event is kept for good."""
        ...

    def versions(self) -> Json:
        """``GET /versions``."""
        ...
