"""What the routes call; ``labelstudio.service.Backend`` is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Json = dict[str, Any]


class Backend(Protocol):
    """Takes the bodies of Label Studio's requests, answers with bodies. Thread-safe; the calls may block.

    Raises MaskloopError: its message goes to who asked, with the status that its code has.
    """

    def setup(self, body: object) -> Json:
        """``POST /setup``; cheap, because Label Studio asks whenever it shows the backend."""
        ...

    def predict(self, body: object) -> Json:
        """``POST /predict``: a click, or tasks to pre-annotate. Blocks until the answer is there."""
        ...

    def webhook(self, payload: bytes) -> Json:
        """``POST /webhook``: returns as soon as the event is kept for good."""
        ...

    def versions(self) -> Json:
        """``GET /versions``."""
        ...

    def review(self, body: Json) -> Json:
        """``POST /reviews``: returns as soon as the review is kept for good."""
        ...

    def tasks_to_review(self, query: Mapping[str, str]) -> Json:
        """``GET /reviews/tasks``."""
        ...

    def batches(self) -> Json:
        """How far pre-annotation is, for ``/health``."""
        ...
