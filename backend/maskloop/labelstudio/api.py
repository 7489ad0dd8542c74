"""The calls that maskloop makes to Label Studio's HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from maskloop.credentials import ADVICE, LabelStudioAuth
from maskloop.errors import LabelStudioError

JSON = dict[str, Any]
TIMEOUT = 60.0
ATTEMPTS = 3
PAGE = 200
"""Tasks asked for at once."""


class Refused(LabelStudioError):
    """Label Studio answered, and not with success."""

    def __init__(self, message: str, hint: str = "", *, status: int = 0) -> None:
        super().__init__(message, hint)
        self.status = status


class LabelStudioApi:
    """One Label Studio, with one user's token. Thread-safe.

    Every method raises LabelStudioError when Label Studio can't be reached or refuses. A request that may not have
    arrived is repeated if that can do no harm: reading always, writing only if no connection was made.
    """

    def __init__(self, base_url: str, token: SecretStr, *, transport: httpx.BaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._client = httpx.Client(
            base_url=self.base_url,
            auth=LabelStudioAuth(self.base_url, token),
            timeout=TIMEOUT,
            transport=transport,
            headers={"User-Agent": "maskloop"},
        )

    def close(self) -> None:
        self._client.close()

    def check(self) -> None:
        """Raises LabelStudioError if Label Studio isn't there or doesn't take the token."""
        self._json("GET", "/api/projects/", params={"page_size": 1})

    def project(self, project: int) -> JSON:
        """``GET /api/projects/{id}/``: among others ``label_config``, ``sampling`` and ``model_version``."""
        return dict(self._json("GET", f"/api/projects/{project}/"))

    def tasks(self, project: int) -> Iterator[JSON]:
        """All tasks of a project with their annotations and predictions, by id; fetched page by page."""
        query = {"project": project, "fields": "all", "page_size": PAGE}
        seen, page = 0, 1
        while True:
            answer = self._json("GET", "/api/tasks/", params={**query, "page": page})
            yield from answer["tasks"]
            seen, page = seen + len(answer["tasks"]), page + 1
            if not answer["tasks"] or seen >= answer["total"]:
                return

    def open_tasks(
        self, project: int, *, count: int, after: int | None = None, ordering: str = "tasks:id"
    ) -> list[JSON]:
        """Up to ``count`` tasks that nobody annotated yet, with ``id`` and ``data``, in the order of a column of the
        Data Manager. ``after``: those with a larger id alone."""
        items: list[JSON] = [
            {"filter": "filter:tasks:completed_at", "operator": "empty", "type": "Datetime", "value": True}
        ]
        if after is not None:
            items.append({"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": after})
        query = {"filters": {"conjunction": "and", "items": items}, "ordering": [ordering]}
        params = {"project": project, "fields": "task_only", "page_size": count, "query": json.dumps(query)}
        return list(self._json("GET", "/api/tasks/", params=params)["tasks"])

    def predictions(self, task: int) -> list[JSON]:
        """The predictions stored for a task; each with ``id`` and ``model_version``."""
        return list(self._json("GET", "/api/predictions/", params={"task": task}))

    def create_prediction(self, project: int, task: int, prediction: JSON) -> None:
        """``POST /api/predictions/``; prediction: ``{"result", "score", "model_version"}``.

        Label Studio 1.23's import of many leaves out, without a word, those that don't fit the labeling configuration
        as its SDK sees it.
        """
        self._json("POST", "/api/predictions/", json={**prediction, "task": task, "project": project})

    def delete_prediction(self, prediction: int) -> None:
        self._send("DELETE", f"/api/predictions/{prediction}/")

    def versions(self, project: int) -> tuple[dict[str, int], set[str]]:
        """How many predictions of each version a project has, and the titles of its backends."""
        params = {"extended": "true", "include_live_models": "true"}
        found = self._json("GET", f"/api/projects/{project}/model-versions/", params=params)
        counts = {str(one["model_version"]): int(one["count"]) for one in found["static"]}
        return counts, {str(one["title"]) for one in found["live"] or ()}

    def show_version(self, project: int, version: str) -> None:
        """Make ``version`` the one that the project shows, sorts and samples by; refused if the project has no
        prediction of it."""
        self._json("PATCH", f"/api/projects/{project}/", json={"model_version": version})

    def webhooks(self, project: int) -> list[JSON]:
        return list(self._json("GET", "/api/webhooks/", params={"project": project}))

    def set_webhook_headers(self, webhook: int, headers: dict[str, str]) -> None:
        """The headers that Label Studio sends with each event, e.g. for authentication."""
        self._json("PATCH", f"/api/webhooks/{webhook}/", json={"headers": headers})

    def _json(self, method: str, path: str, **request: Any) -> Any:
        answer = self._send(method, path, **request)
        try:
            return answer.json()
        except ValueError as error:
            raise LabelStudioError(
                f"{self.base_url} answers {method} {path} with something else than JSON.",
                "Does MASKLOOP_LABEL_STUDIO_URL name a Label Studio?",
            ) from error

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        harmless = httpx.TransportError if method == "GET" else httpx.ConnectError
        attempts = Retrying(
            retry=retry_if_exception_type(harmless),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            reraise=True,
        )
        try:
            answer = attempts(self._client.request, method, path, **request)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise LabelStudioError(
                f"Label Studio at {self.base_url} can't be reached: {reason}.",
                "Is it running, and MASKLOOP_LABEL_STUDIO_URL its address as seen from here?",
            ) from error
        if answer.is_success:
            return answer
        raise Refused(
            f"Label Studio answers {answer.status_code} to {method} {path}.{told(answer)}",
            hint(answer),
            status=answer.status_code,
        )


def told(answer: httpx.Response) -> str:
    """What Label Studio says beside the status, if it is short enough to help."""
    try:
        detail = answer.json().get("detail", "")
    except (ValueError, AttributeError):
        return ""
    return f" It says: {detail[:300]}" if isinstance(detail, str) and detail else ""


def hint(answer: httpx.Response) -> str:
    if answer.status_code == 401:
        return (
            f"{ADVICE} A legacy token is only taken while legacy tokens are switched on in "
            "Organization > Access Token Settings."
        )
    if answer.status_code in (403, 404):
        return "The token's user may not be a member of the organization or project, or it is gone."
    return ""
