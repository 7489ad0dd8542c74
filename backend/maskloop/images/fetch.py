"""Images by HTTP: every address, every redirect and every connection is checked against the policy."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # by itself, it is imported at the first connection
import math
import socket
import ssl
import time
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from maskloop.credentials import ADVICE, LabelStudioAuth
from maskloop.errors import ImageRefused, ImageUnavailable, LabelStudioError
from maskloop.images.disk import too_large
from maskloop.images.policy import ImagePolicy
from maskloop.images.sources import Remote, display

MAX_REDIRECTS = 5
DEADLINE: ContextVar[float] = ContextVar("DEADLINE", default=math.inf)
"""Of the fetch that this thread is at, on the monotonic clock. A connection serves one fetch after the other."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """``etag``: what to send to learn whether the image has changed (RFC 9110, section 8.8.3), if the host gave one."""

    data: bytes
    content_type: str
    etag: str | None


class Fetcher:
    """Fetches what ``policy`` allows, over connections that are kept. Usable by several threads at once."""

    def __init__(self, policy: ImagePolicy) -> None:
        self._policy = policy
        self._auth = (
            LabelStudioAuth(str(policy.label_studio), policy.token) if policy.label_studio and policy.token else None
        )
        # A transport of our own keeps httpx from the environment's proxies: through one, nobody would check which
        # address is connected to.
        self._client = httpx.Client(
            transport=GuardedTransport(policy),
            follow_redirects=False,
            timeout=policy.timeout,
            headers={"Accept": "image/*,*/*;q=0.5", "Accept-Encoding": "identity", "User-Agent": "maskloop"},
        )

    def close(self) -> None:
        self._client.close()

    def fetch(self, source: Remote, *, etag: str | None = None) -> Fetched | None:
        """The bytes at ``source``, or None if they are still those that ``etag`` stands for.

        Raises ImageRefused, or ImageUnavailable if the host can't be reached, takes longer than the policy's timeout
        in all, or answers with an error, or ImageUnreadable if the image is larger than the policy allows.
        """
        outer = DEADLINE.set(time.monotonic() + self._policy.timeout)
        url = source.url
        try:
            for _ in range(MAX_REDIRECTS + 1):
                answer = self._ask(url, etag)
                if not isinstance(answer, httpx.URL):
                    return answer
                self._policy.check_url(answer, redirected_from=url)
                url = answer
        except httpx.TimeoutException as error:
            raise ImageUnavailable(
                f"{display(url)} did not arrive within {self._policy.timeout:g} s.",
                "The limit is MASKLOOP_IMAGE_TIMEOUT.",
            ) from error
        except LabelStudioError as error:
            raise ImageUnavailable(error.message, error.hint) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise ImageUnavailable(f"{display(url)} can't be fetched: {reason}.") from error
        finally:
            DEADLINE.reset(outer)
        raise ImageUnavailable(f"{source} redirects more than {MAX_REDIRECTS} times.")

    def _ask(self, url: httpx.URL, etag: str | None) -> Fetched | httpx.URL | None:
        """The answer of one host: the bytes, where it redirects to, or None for "not modified"."""
        request = self._client.build_request("GET", url, headers={"If-None-Match": etag} if etag else {})
        auth = self._auth if self._policy.authorizes(url) else None
        response = self._client.send(request, auth=auth, stream=True)
        try:
            if response.status_code == 304 and etag:
                return None
            if response.has_redirect_location:
                return url.join(response.headers["Location"])
            if response.status_code != 200:
                raise self._refusal(url, response.status_code)
            return Fetched(
                self._read(url, response),
                response.headers.get("Content-Type", "").partition(";")[0],
                response.headers.get("ETag"),
            )
        finally:
            response.close()

    def _read(self, url: httpx.URL, response: httpx.Response) -> bytes:
        limit = self._policy.max_bytes
        length = response.headers.get("Content-Length", "")
        if length.isdecimal() and int(length) > limit:
            raise too_large(display(url), limit)
        if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
            raise ImageUnavailable(f"{display(url)} was sent in {encoding}, though plain bytes were asked for.")
        data = bytearray()
        for chunk in response.iter_raw():
            data += chunk
            if len(data) > limit:
                raise too_large(display(url), limit)
        return bytes(data)

    def _refusal(self, url: httpx.URL, status: int) -> ImageUnavailable:
        where = display(url)
        ours = self._policy.is_label_studio(url)
        if status == 401 and ours:
            if self._auth is None:
                return ImageUnavailable(f"Label Studio wants a token for {where} (401).", ADVICE)
            return ImageUnavailable(
                f"Label Studio doesn't take the token for {where} (401).",
                f"Legacy tokens may be switched off. {ADVICE}",
            )
        if status == 403 and ours:
            return ImageUnavailable(
                f"Label Studio doesn't give {where} to the token's user (403).",
                "The user must see the project, and local files need LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true.",
            )
        if status in (404, 410):
            return ImageUnavailable(
                f"There is no image at {where} ({status}).",
                "Label Studio gives out files of connected storages only." if self._policy.authorizes(url) else "",
            )
        if status == 500 and self._policy.authorizes(url):
            return ImageUnavailable(
                f"Label Studio failed at {where} (500).", "It does so for uploads that are deleted."
            )
        return ImageUnavailable(f"{where} was answered with status {status}.")


class GuardedTransport(httpx.HTTPTransport):
    """Connects only to addresses that the policy allows."""

    def __init__(self, policy: ImagePolicy) -> None:
        super().__init__(trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=32,
            max_keepalive_connections=8,
            keepalive_expiry=30.0,
            network_backend=GuardedBackend(policy),
        )


class GuardedBackend(httpcore.NetworkBackend):
    """Looks a name up once, checks the addresses, and connects to one of those: a second look-up, which might give
    another address (DNS rebinding), doesn't happen."""

    def __init__(self, policy: ImagePolicy) -> None:
        self._policy = policy
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        refusals: list[Exception] = []
        for address in look_up(host, port):
            try:
                self._policy.check_address(host, port, address)
                left = time_left(timeout, httpcore.ConnectTimeout)
                return TimedStream(self._backend.connect_tcp(address, port, left, local_address, socket_options))
            except (ImageRefused, httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                refusals.append(error)
        raise refusals[0]


class TimedStream(httpcore.NetworkStream):
    """A connection whose reads and writes end at the deadline: a host that sends a byte now and then has no more time
    than one that is silent."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, time_left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, time_left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = time_left(timeout, httpcore.ConnectTimeout)
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def time_left(timeout: float | None, over: type[Exception]) -> float:
    """Seconds until the deadline, or ``timeout`` if that is shorter. Raises ``over`` if there are none."""
    left = min(math.inf if timeout is None else timeout, DEADLINE.get() - time.monotonic())
    if left <= 0:
        raise over
    return left


def look_up(host: str, port: int) -> list[str]:
    """The IP addresses of ``host``, in the system's order of preference; at least one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # a name with a part that is empty or longer than 63 letters
        raise httpcore.ConnectError(f"no address is known for {host}") from error
    return list(dict.fromkeys(str(info[4][0]) for info in found))
