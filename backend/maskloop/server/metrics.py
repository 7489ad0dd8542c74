"""Figures for Prometheus."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from maskloop.dispatch.overview import WorkerState
from maskloop.learning.versions import Answering
from maskloop.server.health import Look

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 100)
"""Seconds: a warm click takes some hundredths, Label Studio gives up after 100."""


class Metrics:
    """Of one server: its own requests, and what ``look`` saw of queues and workers last."""

    def __init__(self, look: Callable[[], Look], answering: Callable[[], Answering]) -> None:
        self._registry = CollectorRegistry()
        self._look = look
        self._answering = answering
        labels = ["route", "status"]
        self._requests = Counter("maskloop_requests", "Requests.", labels, registry=self._registry)
        self._seconds = Histogram(
            "maskloop_request_seconds", "Time to the answer.", ["route"], buckets=BUCKETS, registry=self._registry
        )
        self._registry.register(self)

    def saw(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        look = self._look()
        workers = [worker for queue in look.queues.values() for worker in queue.workers]
        yield GaugeMetricFamily("maskloop_redis_up", "Whether Redis answers.", value=float(bool(look.queues)))
        info = InfoMetricFamily("maskloop_model", "What is in service, in a project or everywhere else, and runs it.")
        engines = sorted({str(worker.report["engine"]) for worker in workers if worker.report.get("engine")})
        for project, version in self._answering().items():
            info.add_metric([], {"version": version, "project": str(project or ""), "engine": " ".join(engines)})
        yield info
        waiting = GaugeMetricFamily("maskloop_queue_waiting", "Jobs that wait.", labels=["queue"])
        running = GaugeMetricFamily("maskloop_queue_running", "Jobs that run.", labels=["queue"])
        alive = GaugeMetricFamily("maskloop_workers", "Living workers.", labels=["queue", "state"])
        for name, queue in look.queues.items():
            waiting.add_metric([name], queue.waiting)
            running.add_metric([name], queue.running)
            for state in ("starting", "idle", "busy"):
                alive.add_metric([name, state], sum(worker.state == state for worker in queue.workers))
        yield from (waiting, running, alive)
        if (events := look.batches.get("events")) is not None:
            yield GaugeMetricFamily("maskloop_events_waiting", "Feedback that isn't recorded yet.", value=events)
        yield from _jobs(workers)


def _jobs(workers: list[WorkerState]) -> Iterator[Metric]:
    """Sums over the workers that live; like any counter they begin anew with a process."""
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for worker in workers:
        for kind, tally in worker.report.get("jobs", {}).items():
            for name, value in tally.items():
                sums[kind, name] += value
    jobs = CounterMetricFamily("maskloop_jobs", "Jobs by their outcome.", labels=["kind", "outcome"])
    seconds = CounterMetricFamily("maskloop_job_seconds", "Time that jobs ran.", labels=["kind"])
    waited = CounterMetricFamily("maskloop_job_wait_seconds", "Time that jobs waited.", labels=["kind"])
    for kind in sorted({kind for kind, _ in sums}):
        jobs.add_metric([kind, "ok"], sums[kind, "done"])
        jobs.add_metric([kind, "failed"], sums[kind, "failed"])
        seconds.add_metric([kind], sums[kind, "seconds"])
        waited.add_metric([kind], sums[kind, "waited"])
    yield from (jobs, seconds, waited)
