"""One run of `maskloop annotate`: what is not in the journal yet is done; the files are written from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Protocol

from maskloop.annotate.detections import Detection, Detections
from maskloop.annotate.flow import Outcome
from maskloop.annotate.journal import Journal, Selection
from maskloop.annotate.sources import distinct, stamped
from maskloop.annotate.values import Annotated, Skipped, Source
from maskloop.annotate.work import Job, Task
from maskloop.learning.classes import Classes
from maskloop.sam.automatic import AutomaticSettings


@dataclass(frozen=True)
class Prompting:
    """What the masks come from. label: of automatic masks; classes: the name of a classifier that labels those of
    which it is sure. detections: boxes that prompt them instead. model: see ``Job``."""

    label: str
    automatic: AutomaticSettings
    detections: Detections | None = None
    classes: str = ""
    model: str = ""

    def job(self, photos: Sequence[Source]) -> Job:
        tasks = tuple(Task(photo.reference, self._boxes(photo)) for photo in photos)
        return Job(tasks, self.label, self.automatic, self.classes, self.model)

    def _boxes(self, photo: Source) -> tuple[Detection, ...] | None:
        if self.detections is None:
            return None
        name = self.detections.name_of(photo.name)
        return () if name is None else self.detections[name]

    def options(self, learned: Classes | None) -> dict[str, Any]:
        """What decides the masks and their names: a journal made with other options is of no use. learned: what
        ``classes`` names."""
        by = {"model": self.model} if self.model else {}
        if self.detections is not None:
            return {**by, "boxes and their classes": self.detections.digest()}
        named = {} if learned is None else {"classes": sha256(learned.to_bytes()).hexdigest()[:16]}
        return {**by, "label": self.label, **named, **asdict(self.automatic)}

    def left_over(self, photos: Iterable[Source]) -> Iterator[Skipped]:
        """Photos that have boxes and are not among ``photos``."""
        if self.detections is not None:
            known = {self.detections.name_of(photo.name) for photo in photos}
            missing = (name for name in self.detections if name not in known)
            yield from (Skipped(name, "It has boxes, and is not in the source.") for name in missing)


class Watcher(Protocol):
    """Told how a run gets on."""

    def resumed(self) -> None:
        """A photo is done since an earlier run."""

    def ended(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Done:
    """photos: in the source's order. skipped: what is not in them, and why."""

    photos: Selection
    skipped: tuple[Skipped, ...]


def fill(
    journal: Journal,
    found: Iterable[Source | Skipped],
    annotate: Callable[[Iterable[Source | Skipped]], Iterator[Outcome]],
    prompting: Prompting,
    watcher: Watcher,
) -> Done:
    """Does what the journal lacks of ``found``, each photo once however often it is named there, and again if the file
    was replaced."""
    photos: dict[str, Source] = {}
    skipped: list[Skipped] = []

    def missing() -> Iterator[Source | Skipped]:
        for each in distinct(found):
            if isinstance(each, Skipped):
                yield each
                continue
            photo = photos[each.reference] = stamped(each)
            if photo in journal:
                watcher.resumed()
            else:
                yield photo

    for outcome in annotate(missing()):
        if isinstance(outcome, Annotated):
            journal.add([outcome])
        else:
            skipped.append(outcome)
        watcher.ended(outcome)
    done = journal.select(photos.values())
    skipped += (Skipped(photo.source.reference, problem) for photo in done for problem in photo.problems)
    skipped += prompting.left_over(photos.values())
    return Done(done, tuple(skipped))
