"""From a stream of photos to a stream of outcomes: in batches, several under way at once."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from maskloop.annotate.pools import Answer, Deaths, Pool
from maskloop.annotate.values import Annotated, Skipped, Source
from maskloop.annotate.work import Job

Outcome = Annotated | Skipped
LOOK = 0.5
"""Seconds between looks at whether to stop."""
DIED = "The process that annotated it died, twice: it may need more memory than there is."


@dataclass(frozen=True, slots=True)
class Batching:
    """size: photos that go to a worker together. max_wait: seconds that the first of them waits for the others."""

    size: int = 1
    max_wait: float = 1.0


def outcomes(
    photos: Iterable[Source | Skipped],
    pool: Pool,
    make_job: Callable[[Sequence[Source]], Job],
    batching: Batching,
    stop: threading.Event | None = None,
) -> Iterator[Outcome]:
    """One outcome for each photo, as they come; what is skipped already is passed on.

    Photos whose process died are tried once more, each alone. Once ``stop`` is set, no photo is begun and those under
    way are waited for. Raises what ``photos`` raises, and what keeps the pool from doing any job.
    """
    flow = _Flow(pool, make_job, batching, stop or threading.Event())
    threading.Thread(target=flow.feed, args=(photos,), daemon=True).start()
    return flow.run()


class _Flow:
    def __init__(
        self,
        pool: Pool,
        make_job: Callable[[Sequence[Source]], Job],
        batching: Batching,
        stop: threading.Event,
    ) -> None:
        self._pool, self._make_job, self._batching, self._stop = pool, make_job, batching, stop
        self._events: queue.SimpleQueue[Source | Skipped | Future[Answer] | Exception | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(2 * pool.slots * batching.size)
        self._waiting: deque[Source] = deque()
        self._since = 0.0
        self._suspects: deque[Source] = deque()
        self._running: dict[Future[Answer], list[Source]] = {}
        self._alone = False
        self._fed = False

    def feed(self, photos: Iterable[Source | Skipped]) -> None:
        """Takes photos as fast as they are done; for a thread, because ``photos`` may be slow to come."""
        try:
            for photo in photos:
                self._room.acquire()
                self._events.put(photo)
            self._events.put(None)
        except Exception as error:  # noqa: BLE001, raised again by run()
            self._events.put(error)

    def run(self) -> Iterator[Outcome]:
        while not self._over():
            self._begin()
            try:
                event = self._events.get(timeout=min(LOOK, self._patience()) if self._has_slot() else LOOK)
            except queue.Empty:
                continue
            match event:
                case Source():
                    self._since = self._since if self._waiting else time.monotonic()
                    self._waiting.append(event)
                case Skipped():
                    self._room.release()
                    yield event
                case Future():
                    yield from self._end(event)
                case None:
                    self._fed = True
                case error:
                    raise error

    def _over(self) -> bool:
        left = self._waiting or self._suspects or not self._fed
        return not self._running and (self._stop.is_set() or not left)

    def _patience(self) -> float:
        """Seconds until the photos that wait are a batch, however few."""
        return max(0.0, self._since + self._batching.max_wait - time.monotonic()) if self._waiting else LOOK

    def _has_slot(self) -> bool:
        return not self._stop.is_set() and not self._alone and len(self._running) < self._pool.slots

    def _begin(self) -> None:
        while self._has_slot():
            if self._suspects:
                if self._running:
                    return
                self._alone = True
                self._submit([self._suspects.popleft()])
            elif len(self._waiting) >= self._batching.size or (self._waiting and (self._fed or not self._patience())):
                batch = [self._waiting.popleft() for _ in range(min(self._batching.size, len(self._waiting)))]
                self._since = time.monotonic()
                self._submit(batch)
            else:
                return

    def _submit(self, batch: list[Source]) -> None:
        future = self._pool.submit(self._make_job(batch))
        self._running[future] = batch
        future.add_done_callback(self._events.put)

    def _end(self, future: Future[Answer]) -> Iterator[Outcome]:
        batch = self._running.pop(future)
        alone, self._alone = self._alone, False
        try:
            answers = future.result()
        except Deaths:
            if not alone:
                self._suspects.extend(batch)
                return
            answers = [{"skipped": DIED}]
        for source, answer in zip(batch, answers, strict=True):
            self._room.release()
            if "skipped" in answer:
                yield Skipped(source.reference, answer["skipped"])
            else:
                yield Annotated.of(source, answer)
