"""The errors a person may see.

Every error that reaches a user is a :class:`MaskloopError`: one sentence on what is wrong and, where there is
one, a second on what to do. The ``code`` travels through the queue and the HTTP answer; the server maps it to a
status. Each room subclasses it for its own failures.
"""

from __future__ import annotations

from typing import ClassVar


class MaskloopError(Exception):
    """What is wrong (``message``) and what to do about it (``hint``, may be empty)."""

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class BadRequest(MaskloopError):
    """The caller sent something that can't be understood: malformed JSON, a prompt outside the image."""

    code = "bad_request"


class BadLabelConfig(MaskloopError):
    """The labeling configuration holds no control that maskloop can fill."""

    code = "bad_label_config"


class ImageRefused(MaskloopError):
    """The image lies outside what the settings allow to be read."""

    code = "image_refused"


class ImageUnavailable(MaskloopError):
    """The image is allowed but can't be fetched: 401, 404, timeout, no such file."""

    code = "image_unavailable"


class ImageUnreadable(MaskloopError):
    """The bytes arrived and are no image, or one over the limits."""

    code = "image_unreadable"


class WeightsError(MaskloopError):
    """Weights are missing, or are not the bytes that the manifest names."""

    code = "weights"


class StorageError(MaskloopError):
    """A file can't be written: the disk is full, or it is another user's."""

    code = "storage"


class Unavailable(MaskloopError):
    """What keeps a state is away, and may be back soon: a job that met this is tried again."""


class QueueUnavailable(Unavailable):
    """Redis can't be reached, or no worker listens."""

    code = "queue_unavailable"


class QueueFull(MaskloopError):
    """More work waits than the queue takes; ``retry_after`` is in seconds."""

    code = "queue_full"

    def __init__(self, message: str, hint: str = "", *, retry_after: float = 5.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class DeadlineExceeded(MaskloopError):
    """The work didn't end before its deadline."""

    code = "deadline_exceeded"


class Abandoned(MaskloopError):
    """Nobody waits for the answer any more: who asked hung up, or the server has to stop."""

    code = "abandoned"


class LabelStudioError(MaskloopError):
    """Label Studio's API refused a request or can't be reached."""

    code = "label_studio"
