"""Images inside the reference: ``data:image/png;base64,...`` (RFC 2397)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import unquote_to_bytes

from maskloop.errors import ImageUnreadable
from maskloop.images.disk import too_large


def read_data_uri(uri: str, max_bytes: int) -> bytes:
    """Raises ImageUnreadable if ``uri`` is malformed, or holds more than ``max_bytes``."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise ImageUnreadable("The data: URI has no comma, and so no data.")
    if not head.endswith(";base64"):
        data = unquote_to_bytes(body)
    else:
        try:
            data = base64.b64decode(unquote_to_bytes(body), validate=True)
        except binascii.Error as error:
            raise ImageUnreadable(f"The data: URI is no proper base64: {error}.") from error
    if len(data) > max_bytes:
        raise too_large("The data: URI", max_bytes)
    return data
