"""One run of `maskloop annotate`: what is not in the journal yet is done; the files are written from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Protocol

from maskloop.annotate.detections import Detection, Detections
from maskloop.annotate.flow import Outcome
from maskloop.annotate.journal import Journal, Selection
from maskloop.annotate.values import Annotated, Skipped, Source
from maskloop.annotate.work import Job, Task
from maskloop.sam.automatic import AutomaticSettings


@dataclass(frozen=True)
class Prompting:
    """What the masks come from. label: of automatic masks. detections: boxes that prompt them instead."""

    label: str
    automatic: AutomaticSettings
    detections: Detections | None = None

    def job(self, photos: Sequence[Source]) -> Job:
        return Job(tuple(Task(photo.reference, self._boxes(photo)) for photo in photos), self.label, self.automatic)

    def _boxes(self, photo: Source) -> tuple[Detection, ...] | None:
        if self.detections is None:
            return None
        name = self.detections.name_of(photo.name)
        return () if name is None else self.detections[name]

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
    """Does what the journal lacks of ``found``, each photo once however often it is named there."""
    photos: dict[str, Source] = {}
    names: set[str] = set()
    skipped: list[Skipped] = []

    def missing() -> Iterator[Source | Skipped]:
        for each in found:
            if isinstance(each, Skipped):
                yield each
            elif each.reference not in photos:
                photos[each.reference] = replace(each, name=_unused(each.name, names))
                if each.reference in journal:
                    watcher.resumed()
                else:
                    yield photos[each.reference]

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


def _unused(name: str, taken: set[str]) -> str:
    """``name``, with a number where another photo has it: addresses that differ in their query alone."""
    path, number = PurePosixPath(name), 1
    while name in taken:
        number += 1
        name = str(path.with_stem(f"{path.stem}-{number}"))
    taken.add(name)
    return name
