"""The routes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from threading import Event
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from maskloop.errors import MaskloopError
from maskloop.labelstudio.service import Backend
from maskloop.labelstudio.wire import SetupRequest
from maskloop.learning.versions import Answering
from maskloop.server.access import Access
from maskloop.server.answers import answer, error_answer, read_body, read_bytes
from maskloop.server.auth import WEBHOOK_HEADER, Guard
from maskloop.server.health import INTERVAL, Overview, Watch, health
from maskloop.server.metrics import Metrics
from maskloop.server.page import page
from maskloop.server.webhooks import Place, Webhooks

CLICK_THREADS, BATCH_THREADS, OTHER_THREADS = 512, 16, 16
"""Requests that block at once; those beyond wait for their turn, without holding up other kinds. The bound on clicks
is the queue's."""
LOOK = 0.5
"""Seconds between looks at whether anybody still waits for a batch."""

log = logging.getLogger("maskloop.server")


def create_app(
    backend: Backend,
    overview: Callable[[], Overview],
    guard: Guard,
    answering: Callable[[], Answering],
    webhooks: Webhooks | None = None,
    leaving: Event | None = None,
) -> FastAPI:
    """overview: tells what goes on in the queues, see :func:`maskloop.dispatch.overview.overview`.
    answering: tells the versions in service; cheap.
    webhooks: is told of the projects that are set up.
    leaving: is set when the server has to stop; batches under way end then."""
    leaving = leaving or Event()
    watch = Watch(overview, backend.batches)
    metrics = Metrics(lambda: watch.look, answering)
    clicks, batches, others = (CapacityLimiter(count) for count in (CLICK_THREADS, BATCH_THREADS, OTHER_THREADS))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await to_thread.run_sync(watch.refresh)
        watching = asyncio.create_task(_watch(watch))
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching

    app = FastAPI(title="maskloop", lifespan=lifespan, openapi_url=None)
    app.add_middleware(Access, metrics=metrics)

    @app.exception_handler(MaskloopError)
    async def maskloop_error(request: Request, error: MaskloopError) -> Response:
        request.state.told = {**_told(request), "error": error.code}
        log.warning("%s: %s", request.url.path, error)
        return error_answer(error)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        return answer({"error": error.detail}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(Exception)
    async def fault(_: Request, error: Exception) -> Response:
        return answer({"error": f"The server failed with {type(error).__name__}. Its log has the details."}, 500)

    def admit(request: Request) -> None:
        if not guard.admits(request):
            raise HTTPException(401, "User name or password are wrong.", {"WWW-Authenticate": "Basic"})

    @app.get("/health")
    async def get_health(request: Request) -> Response:
        """Open to all; how it stands in detail is for those who are let in."""
        body = health(watch.look, answering())
        told = body if guard.admits(request) else {"status": body["status"]}
        return answer(told, 200 if body["status"] == "UP" else 503)

    @app.post("/setup")
    async def post_setup(request: Request) -> Response:
        admit(request)
        body = await read_body(request)
        told = await to_thread.run_sync(backend.setup, body, limiter=others)
        if webhooks and (project := SetupRequest.read(body).project_id) is not None:
            webhooks.expect(Place(project, request.headers.get("Host", "")))
        return answer(told)

    @app.post("/predict")
    async def post_predict(request: Request) -> Response:
        admit(request)
        body = await read_body(request)
        click = _is_click(body)
        request.state.told = {"kind": "click" if click else "batch", "tasks": _length(body.get("tasks"))}
        if click:
            return answer(await to_thread.run_sync(backend.predict, body, limiter=clicks))
        async with _caller(request, leaving) as gone:
            return answer(await to_thread.run_sync(backend.predict, body, gone, limiter=batches))

    @app.get("/versions")
    async def get_versions(request: Request) -> Response:
        admit(request)
        return answer(await to_thread.run_sync(backend.versions, limiter=others))

    @app.post("/webhook")
    async def post_webhook(request: Request) -> Response:
        if not guard.admits_webhook(request):
            log.warning(
                "A webhook was refused, so feedback from Label Studio is not recorded: it has to send the header %s. "
                "maskloop sets that by itself if it has LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, and if a proxy "
                "before it keeps the header Host.",
                WEBHOOK_HEADER,
            )
            raise HTTPException(401, f"Send {WEBHOOK_HEADER} or Basic auth.", {"WWW-Authenticate": "Basic"})
        payload = await read_bytes(request)
        return answer(await to_thread.run_sync(backend.webhook, payload, limiter=others), 201)

    @app.post("/reviews")
    async def post_review(request: Request) -> Response:
        """A reviewer's decision on a task."""
        admit(request)
        body = await read_body(request)
        return answer(await to_thread.run_sync(backend.review, body, limiter=others), 201)

    @app.get("/reviews/tasks")
    async def get_tasks_to_review(request: Request) -> Response:
        """What needs a human."""
        admit(request)
        query = dict(request.query_params)
        return answer(await to_thread.run_sync(backend.tasks_to_review, query, limiter=others))

    @app.get("/metrics")
    async def get_metrics(request: Request) -> Response:
        admit(request)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/")
    async def get_page(request: Request) -> Response:
        admit(request)
        return HTMLResponse(page(health(watch.look, answering())))

    return app


async def _watch(watch: Watch) -> None:
    while True:
        await asyncio.sleep(INTERVAL)
        await to_thread.run_sync(watch.refresh, abandon_on_cancel=True)


@asynccontextmanager
async def _caller(request: Request, leaving: Event) -> AsyncIterator[Event]:
    """An event that is set once nobody waits for the answer any more."""
    gone = Event()

    async def watch() -> None:
        while not (leaving.is_set() or await request.is_disconnected()):
            await asyncio.sleep(LOOK)
        gone.set()

    watching = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        watching.cancel()


def _is_click(body: dict[str, Any]) -> bool:
    params = body.get("params")
    return isinstance(params, dict) and bool(params.get("context"))


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def _told(request: Request) -> dict[str, object]:
    return dict(getattr(request.state, "told", {}))
