"""One line in the log for each request, and its figures."""

from __future__ import annotations

import logging
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maskloop.server.metrics import Metrics

QUIET = ("/health", "/metrics")
"""Asked all the time, by Label Studio and by monitoring."""

log = logging.getLogger("maskloop.access")


class Access:
    """ASGI middleware. Routes may put more into ``request.state.told``; nothing of headers, query or body is logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        status = 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            seconds = time.perf_counter() - begin
            route = getattr(scope.get("route"), "path", "unknown")
            self._metrics.saw(route, status, seconds)
            told = getattr(Request(scope).state, "told", {})
            level = logging.DEBUG if route in QUIET and status < 400 else logging.INFO
            words = [f"{name}={value}" for name, value in told.items()]
            log.log(
                level, "%s", " ".join([scope["method"], route, f"status={status}", f"ms={seconds * 1000:.1f}", *words])
            )
