"""Who may ask: Basic auth as Label Studio sends it, and a token of its own for webhooks.

Label Studio sends Basic auth with everything but the webhooks for annotations, whose headers have to be set through its
API: hence a token, derived from the password. Those who read it there can find the password only by trying: each try
takes the time and the memory of scrypt.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from functools import cached_property
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

    @cached_property
    def webhook_token(self) -> str:
        """What a webhook sends in ``X-Maskloop-Token``; the same for all servers with these credentials."""
        salt = f"maskloop webhook {self.user}".encode()
        return hashlib.scrypt(self.password.encode(), salt=salt, n=1 << 14, r=8, p=5, dklen=32).hex()

    def admits(self, request: Request) -> bool:
        given = _basic(request.headers.get("Authorization", ""))
        return self.is_open or any(_same(each, f"{self.user}:{self.password}") for each in given)

    def admits_webhook(self, request: Request) -> bool:
        return self.admits(request) or _same(request.headers.get(WEBHOOK_HEADER, ""), self.webhook_token)


def _basic(header: str) -> tuple[str, ...]:
    """The user and password of a Basic ``Authorization`` header, with a colon between: as Label Studio means it, which
    sends Latin-1, and as others do, who send UTF-8. Empty if it is none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return ()
    try:
        sent = base64.b64decode(encoded.strip(), validate=True)
    except ValueError:
        return ()
    return sent.decode("latin-1"), sent.decode(errors="replace")


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
