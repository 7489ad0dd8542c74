"""Label Studio's tokens as an ``Authorization`` header, for whoever talks to Label Studio: images and its API.

Two kinds exist. A legacy token (40 hex digits) is sent as it is: ``Authorization: Token ...``. A personal access
token is a JWT that is exchanged at ``POST /api/token/refresh`` for an access token of a few minutes, which is sent
as ``Authorization: Bearer ...``.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Generator

import httpx
from pydantic import SecretStr

from maskloop.errors import LabelStudioError

REFRESH_PATH = "/api/token/refresh"
ADVICE = (
    "Make a personal access token in Label Studio (your picture > Account & Settings > Personal Access Token) "
    "and set MASKLOOP_LABEL_STUDIO_API_KEY to it."
)
MARGIN = 15.0
"""An access token is renewed this long before it ends, seconds."""


class LabelStudioAuth(httpx.Auth):
    """Adds the token to requests for one Label Studio, and to no others: not to another scheme, host or port.

    Usable by several threads at once:
    ``httpx.Client(auth=LabelStudioAuth("https://label.example.org", token))``. Sending raises
    :class:`LabelStudioError` when Label Studio doesn't take the personal access token.
    """

    def __init__(self, base_url: str, token: SecretStr) -> None:
        self._base = httpx.URL(base_url)
        self._token = token.get_secret_value().strip()
        self._personal = self._token.count(".") == 2
        self._access: tuple[str, float] | None = None  # the access token and when to renew it (monotonic)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if not same_origin(request.url, self._base):
            yield request
            return
        if self._personal and not self._valid():
            self._keep((yield self._refresh_request(request)))
        self._sign(request)
        response = yield request
        if response.status_code == 401 and self._personal:
            self._keep((yield self._refresh_request(request)))
            self._sign(request)
            yield request

    # As httpx's own driver of auth_flow, but only the answers about tokens are read here: images are streamed.
    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        flow = self.auth_flow(request)
        sent = next(flow)
        while True:
            response = yield sent
            if sent is not request:
                response.read()
            try:
                sent = flow.send(response)
            except StopIteration:
                return

    def _valid(self) -> bool:
        return self._access is not None and time.monotonic() < self._access[1]

    def _sign(self, request: httpx.Request) -> None:
        if self._personal:
            assert self._access is not None
            request.headers["Authorization"] = f"Bearer {self._access[0]}"
        else:
            request.headers["Authorization"] = f"Token {self._token}"

    def _refresh_request(self, request: httpx.Request) -> httpx.Request:
        """With the time limits of ``request``; by itself, it would have none."""
        limits = {name: value for name, value in request.extensions.items() if name == "timeout"}
        url = self._base.copy_with(path=self._base.path.rstrip("/") + REFRESH_PATH)
        return httpx.Request("POST", url, json={"refresh": self._token}, extensions=limits)

    def _keep(self, response: httpx.Response) -> None:
        if response.status_code in (400, 401, 403):
            raise LabelStudioError("Label Studio doesn't take the personal access token.", ADVICE)
        try:
            access = response.raise_for_status().json()["access"]
        except (httpx.HTTPStatusError, ValueError, KeyError, TypeError) as error:
            raise LabelStudioError(
                f"Label Studio answered {response.status_code} when asked for an access token.",
                "Does MASKLOOP_LABEL_STUDIO_URL name a Label Studio?",
            ) from error
        self._access = (access, time.monotonic() + lifetime(access) - MARGIN)


def same_origin(one: httpx.URL, other: httpx.URL) -> bool:
    """Whether scheme, host and port (the scheme's own where none is given) are equal."""
    return origin(one) == origin(other)


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host (in ASCII, without brackets) and port of ``url``; the scheme's own port where none is given."""
    port = {"http": 80, "https": 443}.get(url.scheme) if url.port is None else url.port
    return url.scheme, url.raw_host.decode("ascii"), port


def lifetime(jwt: str) -> float:
    """Seconds between a JWT's issue and its end (RFC 7519: ``iat``, ``exp``); a minute where it doesn't say.

    The difference of the two, so that the clocks of the two machines need not agree. Nothing is verified: the token
    came from Label Studio itself.
    """
    try:
        payload = jwt.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"]) - float(claims["iat"])
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return 60.0
