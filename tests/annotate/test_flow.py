"""Every photo ends in exactly one outcome, whatever happens to the process that does it."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from maskloop.annotate.flow import Batching, outcomes
from maskloop.annotate.pools import Answer, InProcess, Processes
from maskloop.annotate.values import Annotated, AnnotateError, Skipped, Source
from maskloop.annotate.work import Job, Task
from maskloop.errors import WeightsError
from maskloop.sam.automatic import AutomaticSettings
from maskloop.settings import Settings

ROOT = Path(__file__).parents[2]
FOUND: dict[str, Any] = {"size": [1, 1], "segments": [], "version": "v1", "problems": []}


def answer(job: dict[str, Any]) -> Answer:
    """A worker that kills its process for some photos and refuses others."""
    answers = []
    for reference, _ in job["tasks"]:
        if reference.startswith("deadly"):
            os.kill(os.getpid(), signal.SIGKILL)
        answers.append({"skipped": "bad"} if reference.startswith("bad") else FOUND)
    return answers


def make(_settings: Settings) -> Callable[[dict[str, Any]], Answer]:
    return answer


def make_job(photos: Sequence[Source]) -> Job:
    return Job(tuple(Task(photo.reference) for photo in photos), "x", AutomaticSettings())


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes find this module by its name."""
    monkeypatch.syspath_prepend(ROOT)


def sources(*names: str) -> list[Source]:
    return [Source(name, name) for name in names]


def names(found: Sequence[Annotated | Skipped]) -> Counter[str]:
    return Counter(each.reference if isinstance(each, Skipped) else each.source.reference for each in found)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_each_photo_has_one_outcome(size: int) -> None:
    pool = InProcess(make, Settings())  # type: ignore[arg-type]
    photos = sources(*(f"{kind}{number}" for number in range(20) for kind in ("good", "bad")))
    found = list(outcomes(photos, pool, make_job, Batching(size)))
    assert names(found) == Counter(photo.reference for photo in photos)
    assert {each.reference for each in found if isinstance(each, Skipped)} == {f"bad{number}" for number in range(20)}


def test_what_the_source_skipped_is_passed_on() -> None:
    pool = InProcess(make, Settings())  # type: ignore[arg-type]
    skipped = Skipped("folder", "locked")
    assert skipped in list(outcomes([*sources("a"), skipped], pool, make_job, Batching()))


def test_a_photo_that_kills_its_process_is_skipped_and_those_beside_it_are_done() -> None:
    pool = Processes(make, Settings(), 2)  # type: ignore[arg-type]
    photos = sources("a", "b", "deadly", "c", "d", "e", "deadly2", "f")
    found = list(outcomes(photos, pool, make_job, Batching(2)))
    pool.close()
    assert names(found) == Counter(photo.reference for photo in photos)
    skipped = [each for each in found if isinstance(each, Skipped)]
    assert {each.reference for each in skipped} == {"deadly", "deadly2"}
    assert all("died" in each.reason for each in skipped)


class Recording:
    """A pool whose jobs end when the test says so."""

    slots = 2

    def __init__(self) -> None:
        self.jobs: list[tuple[list[str], Future[Answer]]] = []
        self.submitted = threading.Semaphore(0)

    def submit(self, job: Job) -> Future[Answer]:
        future: Future[Answer] = Future()
        self.jobs.append(([task.reference for task in job.tasks], future))
        self.submitted.release()
        return future

    def close(self) -> None: ...

    def finish(self, index: int) -> None:
        references, future = self.jobs[index]
        future.set_result([FOUND] * len(references))


def consume(*arguments: Any) -> tuple[threading.Thread, list[Annotated | Skipped]]:
    found: list[Annotated | Skipped] = []
    thread = threading.Thread(target=lambda: found.extend(outcomes(*arguments)), daemon=True)
    thread.start()
    return thread, found


def test_a_batch_that_does_not_fill_goes_after_its_wait_though_the_source_goes_on() -> None:
    pool, more = Recording(), threading.Event()

    def slow() -> Iterator[Source]:
        yield from sources("a", "b")
        more.wait(20)
        yield from sources("c")

    thread, found = consume(slow(), pool, make_job, Batching(10, 0.2))
    assert pool.submitted.acquire(timeout=20)
    assert pool.jobs[0][0] == ["a", "b"]
    more.set()
    assert pool.submitted.acquire(timeout=20)
    pool.finish(0)
    pool.finish(1)
    thread.join(20)
    assert names(found) == Counter("abc")


def test_no_more_jobs_are_under_way_than_the_pool_has_slots_and_the_source_is_not_read_far_ahead() -> None:
    pool, taken = Recording(), []

    def endless() -> Iterator[Source]:
        for number in range(1000):
            taken.append(number)
            yield Source(str(number), str(number))

    stop = threading.Event()
    thread, found = consume(endless(), pool, make_job, Batching(3), stop)
    assert pool.submitted.acquire(timeout=20)
    assert pool.submitted.acquire(timeout=20)
    assert [len(references) for references, _ in pool.jobs] == [3, 3]
    assert len(taken) <= 13
    stop.set()
    pool.finish(0)
    pool.finish(1)
    thread.join(20)
    assert len(pool.jobs) == 2
    assert names(found) == Counter("012345")


def test_a_source_that_fails_ends_the_run_with_its_error() -> None:
    def failing() -> Iterator[Source]:
        yield from sources("a")
        raise AnnotateError("no more")

    with pytest.raises(AnnotateError, match="no more"):
        list(outcomes(failing(), InProcess(make, Settings()), make_job, Batching()))  # type: ignore[arg-type]


def make_without_weights(_settings: Settings) -> Callable[[dict[str, Any]], Answer]:
    raise WeightsError("There are no weights.", "Fetch them.")


@pytest.mark.parametrize("where", ["here", "processes"])
def test_what_keeps_every_job_from_being_done_ends_the_run(where: str) -> None:
    pool = (
        InProcess(make_without_weights, Settings())  # type: ignore[arg-type]
        if where == "here"
        else Processes(make_without_weights, Settings(), 1)  # type: ignore[arg-type]
    )
    with pytest.raises(WeightsError, match="no weights") as raised:
        list(outcomes(sources("a"), pool, make_job, Batching()))
    pool.close()
    assert raised.value.hint == "Fetch them."
