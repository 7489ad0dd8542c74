"""Label Studio as a child process, and the calls of its API that the demo makes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from maskloop.demo.child import Child, running
from maskloop.errors import LabelStudioError

JSON = dict[str, Any]

START_TIMEOUT = 600.0
"""The first start makes the database: 30 s on two idle cores, minutes on busy ones."""
ANSWER_TIMEOUT = 130.0
"""Label Studio itself waits 100 s for a backend."""


@contextlib.contextmanager
def label_studio_running(
    command: Path, data: Path, port: int, *, email: str, password: str, more: Mapping[str, str] | None = None
) -> Iterator[tuple[Child, str]]:
    """Run Label Studio on loopback with its database and uploads under ``data``; yield the child and its address.

    The user is made at the first start. ``more`` is added to its environment.
    """
    environment = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_USERNAME": email,
        "LABEL_STUDIO_PASSWORD": password,
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # Both refuse loopback and private addresses by default, where the backend is: connecting it fails with 403,
        # and webhooks to it are dropped without a word.
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
        "SSRF_PROTECTION_ENABLED": "false",
        **(more or {}),
    }
    start = [str(command), "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(port)]
    with running("Label Studio", start, data / "label-studio.log", environment) as child:
        url = f"http://127.0.0.1:{port}"
        child.wait_until_ready(f"{url}/health", START_TIMEOUT)
        yield child, url


class LabelStudio:
    """Label Studio's API as a person sees it: logged in with email and password.

    Every method raises LabelStudioError if Label Studio refuses or doesn't answer.
    """

    def __init__(self, url: str, email: str, password: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=ANSWER_TIMEOUT, headers={"Referer": url})
        self._request("GET", "/user/login/")
        form = {"email": email, "password": password, "csrfmiddlewaretoken": self._http.cookies["csrftoken"]}
        if not self._request("POST", "/user/login/", data=form).is_redirect:
            raise LabelStudioError(f"Label Studio refuses the login of {email}.")
        self._http.headers["X-CSRFToken"] = self._http.cookies["csrftoken"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def new_token(self) -> str:
        """A personal access token; Label Studio lets a user have one, so an earlier one is revoked."""
        for token in self._json("GET", "/api/token/"):
            self._request("POST", "/api/token/blacklist/", json={"refresh": token["token"]})
        return str(self._json("POST", "/api/token/")["token"])

    def projects(self) -> list[JSON]:
        return list(self._json("GET", "/api/projects/", params={"page_size": 1000})["results"])

    def project(self, project: int) -> JSON:
        return dict(self._json("GET", f"/api/projects/{project}/"))

    def create_project(self, title: str, label_config: str) -> int:
        body = {"title": title, "label_config": label_config}
        return int(self._json("POST", "/api/projects/", json=body)["id"])

    def delete_project(self, project: int) -> None:
        self._request("DELETE", f"/api/projects/{project}/")

    def update_project(self, project: int, **fields: Any) -> None:
        self._json("PATCH", f"/api/projects/{project}/", json=fields)

    def upload(self, project: int, files: Sequence[tuple[str, bytes]]) -> None:
        """Upload files (name, bytes); each becomes a task."""
        form = [(f"file{index}", file) for index, file in enumerate(files)]
        self._json("POST", f"/api/projects/{project}/import", files=form)

    def import_tasks(self, project: int, tasks: Sequence[JSON]) -> None:
        """Make tasks from their data, e.g. ``{"image": url}``."""
        self._json("POST", f"/api/projects/{project}/import", json=[{"data": data} for data in tasks])

    def tasks(self, project: int) -> list[JSON]:
        """All tasks with their predictions and annotations, in the order of their ids."""
        found: list[JSON] = []
        query = {"project": project, "fields": "all", "page_size": 500}
        while True:
            page = self._json("GET", "/api/tasks/", params={**query, "page": 1 + len(found) // 500})
            found += page["tasks"]
            if len(found) >= page["total"] or not page["tasks"]:
                return found

    def connect(self, project: int, backend: str, extra_params: JSON | None = None) -> JSON:
        """Make ``backend`` the project's only backend, for clicks too; return what Label Studio knows of it."""
        for old in self._json("GET", "/api/ml", params={"project": project}):
            self._request("DELETE", f"/api/ml/{old['id']}")
        for hook in self._json("GET", "/api/webhooks/", params={"project": project}):
            if hook["url"].endswith("/webhook"):
                self._request("DELETE", f"/api/webhooks/{hook['id']}/")
        body = {"project": project, "url": backend, "title": "maskloop", "is_interactive": True}
        if extra_params:
            body["extra_params"] = extra_params
        made = self._json("POST", "/api/ml", json=body)
        return dict(self._json("GET", f"/api/ml/{made['id']}"))

    def retrieve_predictions(self, project: int, tasks: Sequence[int]) -> None:
        """Ask the backend to pre-annotate tasks. Some predictions may arrive after this returns."""
        query = {"id": "retrieve_tasks_predictions", "project": project}
        selected = {"all": False, "included": list(tasks)}
        self._json("POST", "/api/dm/actions", params=query, json={"selectedItems": selected})

    def show_version(self, project: int, version: str) -> None:
        """Show the predictions of ``version`` in the project; at least one must be there.

        Connecting a backend leaves the backend's title in this place, with which sorting by score and sampling by
        uncertainty find nothing.
        """
        self.update_project(project, model_version=version)

    def interact(self, backend: int, task: int, prompts: Sequence[JSON]) -> JSON:
        """What the editor does after a click: prompts in, a prediction out.

        Raises LabelStudioError with the message that the editor would show.
        """
        body = {"task": task, "context": {"result": list(prompts)}}
        answer = self._json("POST", f"/api/ml/{backend}/interactive-annotating", json=body)
        if errors := answer.get("errors"):
            raise LabelStudioError("; ".join(map(str, errors)))
        return dict(answer["data"])

    def start_training(self, backend: int) -> None:
        """The button of that name."""
        self._request("POST", f"/api/ml/{backend}/train", json={})

    def next_task(self, project: int) -> int:
        """The task that a person gets next."""
        return int(self._json("GET", f"/api/projects/{project}/next")["id"])

    def versions(self, backend: int) -> list[str]:
        """What the backend offers."""
        return list(self._json("GET", f"/api/ml/{backend}/versions")["versions"])

    def annotate(self, task: int, result: Sequence[JSON], **fields: Any) -> int:
        """Submit an annotation; the backend's webhook is called before this returns."""
        body = {"result": list(result), **fields}
        return int(self._json("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])

    def _json(self, method: str, path: str, **request: Any) -> Any:
        return self._request(method, path, **request).json()

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise LabelStudioError(f"Label Studio does not answer {method} {path}: {error!r}") from error
        if answer.is_error:
            raise LabelStudioError(f"Label Studio answers {answer.status_code} to {method} {path}: {answer.text[:500]}")
        return answer
