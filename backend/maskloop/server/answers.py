"""Bodies in and out: JSON, and errors with a status that says whose they are."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from maskloop.errors import BadRequest, MaskloopError, QueueFull
from maskloop.images.task_data import well_formed

LARGEST = 256 << 20
"""Bytes of a body: the whole of it is held in memory."""
STATUS = {
    "bad_request": 400,
    "too_large": 413,
    "bad_label_config": 422,
    "nothing_found": 422,
    "image_refused": 422,
    "image_unreadable": 422,
    "image_unavailable": 502,
    "label_studio": 502,
    "weights": 503,
    "unknown_version": 503,
    "storage": 503,
    "queue_unavailable": 503,
    "queue_full": 503,
    "feedback_unavailable": 503,
    "abandoned": 503,
    "deadline_exceeded": 504,
    "replaced": 409,
    "cancelled": 409,
}
"""By the error's code; 500 for the rest."""


class TooLarge(MaskloopError):
    """More was sent than is taken at once."""

    code: ClassVar[str] = "too_large"


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, "application/json")


def error_answer(error: MaskloopError) -> Response:
    """``{"error", "hint", "code"}``; ``Retry-After`` in seconds when trying again is all there is to do."""
    headers = {"Retry-After": str(round(error.retry_after))} if isinstance(error, QueueFull) else None
    content = {"error": str(error), "message": error.message, "hint": error.hint, "code": error.code}
    return answer(content, STATUS.get(error.code, 500), headers)


async def read_bytes(request: Request) -> bytes:
    """The body. A browser lets any web page send one to any server, but says so: that is refused. Pages of ours send
    none, and one of another server can have a name that leads here. Raises TooLarge."""
    if "Origin" in request.headers:
        raise HTTPException(403, "Web pages have no access here.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST:
            raise TooLarge(f"The body is larger than {LARGEST >> 20} MiB, so none of it is used.", "Send less at once.")
    return bytes(body)


async def read_body(request: Request) -> dict[str, Any]:
    """The body, which has to be a JSON object. Raises BadRequest or TooLarge."""
    try:
        body = _parsed(await read_bytes(request))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not JSON: {error}.") from error
    if not isinstance(body, dict):
        raise BadRequest(f"The body has to be a JSON object, not {type(body).__name__}.")
    return body


def _parsed(body: bytes) -> Any:
    """orjson refuses half characters: one in one task's data would be the reason to refuse all."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return orjson.loads(well_formed(json.dumps(json.loads(body), ensure_ascii=False, allow_nan=False)))
