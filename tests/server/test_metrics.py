"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from maskloop.errors import QueueFull, QueueUnavailable
from maskloop.server.health import Overview


def samples(client: httpx.Client) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_queues_workers_and_jobs(client: httpx.Client, backend: Any) -> None:
    client.post("/predict", json={})
    backend.answer = QueueFull("full")
    client.post("/predict", json={})
    seen = samples(client)
    assert seen["maskloop_requests_total", "/predict", "200"] == 1
    assert seen["maskloop_requests_total", "/predict", "503"] == 1
    assert seen["maskloop_request_seconds_count", "/predict"] == 2
    assert seen["maskloop_queue_waiting", "interactive"] == 2
    assert seen["maskloop_workers", "interactive", "busy"] == 1
    assert seen["maskloop_jobs_total", "click", "ok"] == 3
    assert seen["maskloop_job_wait_seconds_total", "click"] == 0.01
    assert seen["maskloop_model_info", "openvino-cpu-bf16", "", "mobile_sam-1"] == 1
    assert seen["maskloop_model_info", "openvino-cpu-bf16", "7", "p7-1"] == 1
    assert seen["maskloop_redis_up",] == 1
    assert seen["maskloop_events_waiting",] == 5


def test_without_redis_there_are_still_figures(serve: Callable[..., httpx.Client]) -> None:
    def away() -> Overview:
        raise QueueUnavailable("away")

    assert samples(serve(overview=away))["maskloop_redis_up",] == 0
