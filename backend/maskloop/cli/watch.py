"""A run of `maskloop annotate` as it is seen, and stopped by Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType, TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from maskloop.annotate.flow import Outcome
from maskloop.annotate.journal import Selection
from maskloop.annotate.values import Annotated, Skipped


@contextmanager
def stop_on_ctrl_c(console: Console) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets. The second is a KeyboardInterrupt."""
    stop = threading.Event()

    def ask(_signal: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, earlier)
        console.print("Finishing the photos under way. Ctrl-C again drops them.")

    earlier = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, earlier)


class Pace(ProgressColumn):
    """Photos a minute since the first of this run was done, and the time left at that pace."""

    def render(self, task: Task) -> Text:
        began, earlier = task.fields["began"]
        done = task.completed - earlier
        if began is None or not done or not task.elapsed:
            return Text("")
        pace = done / (task.elapsed - began)
        left = "" if task.total is None else f", {timedelta(seconds=round((task.total - task.completed) / pace))} left"
        return Text(f"{pace * 60:.1f} images/min{left}")


class Watch:
    """Draws a run as it goes."""

    def __init__(self, console: Console, total: int | None) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Pace()
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("Loading the model", total=total, began=(None, 0))
        self._earlier = 0
        self._began: float | None = None
        self._skipped = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def resumed(self) -> None:
        self._earlier += 1
        self._progress.update(self._task, advance=1, began=(self._began, self._earlier))

    def ended(self, outcome: Outcome) -> None:
        self._skipped += isinstance(outcome, Skipped)
        description = f"Photos ({self._skipped} skipped)" if self._skipped else "Photos"
        if self._began is None:  # until then the model was loaded
            self._began = self._progress.tasks[self._task].elapsed
            self._earlier += 1
        self._progress.update(self._task, advance=1, description=description, began=(self._began, self._earlier))

    def writing(self, description: str, photos: Selection) -> Iterable[Annotated]:
        """``photos`` for whoever writes them; the bar shows how far each pass over them is."""
        return _Passes(self._progress, self._task, description, photos)


@dataclass(frozen=True)
class _Passes(Iterable[Annotated]):
    progress: Progress
    task: TaskID
    description: str
    photos: Selection

    def __iter__(self) -> Iterator[Annotated]:
        self.progress.reset(self.task, description=self.description, total=len(self.photos), began=(0.0, 0))
        return iter(self.progress.track(self.photos, task_id=self.task))
