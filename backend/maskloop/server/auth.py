"""Who may ask: Basic auth as Label Studio sends it, and a token of its own for webhooks.

Label Studio sends Basic auth with everything but the webhooks for annotations, whose headers have to be set through its
API: hence a token, derived from the password, that tells nothing about it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from maskloop.settings import Settings

WEBHOOK_HEADER = "X-Maskloop-Token"


@dataclass(frozen=True)
class Guard:
    """Lets everybody in if there are no credentials. Comparisons take the same time wherever they differ."""

    user: str = ""
    password: str = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        password = settings.basic_auth_pass.get_secret_value() if settings.basic_auth_pass else ""
        return cls(settings.basic_auth_user or "", password)

    @property
    def is_open(self) -> bool:
        return not (self.user or self.password)

    @property
    def webhook_token(self) -> str:
        """What a webhook sends in ``X-Maskloop-Token``."""
        return hmac.digest(f"{self.user}:{self.password}".encode(), b"maskloop webhook", "sha256").hex()

    def admits(self, request: Request) -> bool:
        return self.is_open or _same(_basic(request.headers.get("Authorization", "")), f"{self.user}:{self.password}")

    def admits_webhook(self, request: Request) -> bool:
        token = request.headers.get(WEBHOOK_HEADER, "")
        return _same(token, self.webhook_token) or self.admits(request)


def _basic(header: str) -> str:
    """The user and password of a Basic ``Authorization`` header, with a colon between; empty if it is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
