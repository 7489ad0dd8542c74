"""The part of Label Studio's API that keeps predictions and hands out tasks, in memory."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr

from maskloop.labelstudio.api import LabelStudioApi


@dataclass
class FakeLabelStudio:
    """``tasks``: without annotations, in the order of each column, of every project. ``status`` other than 200 is the
    answer to everything; ``gone`` tasks are refused with 404; ``keeps``: removing a prediction is, with 403."""

    predictions: dict[int, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    gone: set[int] = field(default_factory=set)
    keeps: bool = False
    tasks: dict[str, list[int]] = field(default_factory=dict)
    project: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def api(self) -> LabelStudioApi:
        return LabelStudioApi("http://label.example", SecretStr("0" * 40), transport=httpx.MockTransport(self.answer))

    def store(self, task: int, prediction: dict[str, Any]) -> None:
        with self._lock:
            self.predictions[len(self.predictions) + 1] = {**prediction, "task": task}

    def of(self, task: int) -> list[dict[str, Any]]:
        with self._lock:
            return [{"id": number, **one} for number, one in self.predictions.items() if one and one["task"] == task]

    def versions(self, task: int) -> list[str]:
        return [one["model_version"] for one in self.of(task)]

    def open_tasks(self, params: httpx.QueryParams) -> list[dict[str, Any]]:
        query = json.loads(params["query"])
        [column], [_, *after] = query["ordering"], query["filters"]["items"]
        least = after[0]["value"] if after else 0
        wanted = [number for number in self.tasks[column] if number > least][: int(params["page_size"])]
        data = {"far beyond what a job can carry": 2**100}
        return [{"id": number, "data": {"image": f"/data/upload/1/{number}.jpg", **data}} for number in wanted]

    def answer(self, request: httpx.Request) -> httpx.Response:
        assert request.headers["Authorization"] == f"Token {'0' * 40}"
        if self.status != 200:
            return httpx.Response(self.status, json={"detail": "no"})
        match request.method, request.url.path:
            case "GET", "/api/predictions/":
                return httpx.Response(200, json=self.of(int(request.url.params["task"])))
            case "POST", "/api/predictions/":
                body = json.loads(request.content)
                if body["task"] in self.gone:
                    return httpx.Response(404, json={"detail": "Not found."})
                self.store(body.pop("task"), body)
                return httpx.Response(201, json={"id": len(self.predictions)})
            case "GET", path if path.startswith("/api/projects/"):
                return httpx.Response(200, json=self.project)
            case "GET", "/api/tasks/":
                return httpx.Response(200, json={"tasks": self.open_tasks(request.url.params)})
            case "DELETE", path if path.startswith("/api/predictions/"):
                if self.keeps:
                    return httpx.Response(403, json={"detail": "no"})
                with self._lock:
                    self.predictions[int(path.split("/")[3])] = {}
                return httpx.Response(204)
        raise AssertionError(f"{request.method} {request.url}")
