"""Annotating from Python: ``save_coco(Annotator().annotate("photos"), "annotations.json")``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from maskloop.annotate.detections import Detections
from maskloop.annotate.flow import Batching, outcomes
from maskloop.annotate.pools import InProcess, MakeWorker, Pool
from maskloop.annotate.run import Prompting
from maskloop.annotate.sources import distinct, find, of_references
from maskloop.annotate.values import Annotated, Skipped, Source
from maskloop.annotate.work import Worker
from maskloop.sam.automatic import AutomaticSettings
from maskloop.settings import Settings
from maskloop.weights import official, verified_path

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Annotations:
    """photos: in the order asked for. skipped: what is not in them, or not all of it, and why."""

    photos: tuple[Annotated, ...]
    skipped: tuple[Skipped, ...]

    def __iter__(self) -> Iterator[Annotated]:
        return iter(self.photos)

    def __len__(self) -> int:
        return len(self.photos)


def official_worker(settings: Settings) -> Worker:
    """A worker with the official weights on the engine that suits this machine.

    Raises WeightsError if they are not here.
    """
    from maskloop.engines.choose import choose_engine  # imports torch
    from maskloop.learning.recognition import Recognition

    engine = choose_engine(
        verified_path(settings.weights_dir),
        settings.engine,
        threads=settings.threads,
        cache_dir=settings.data_dir / "cache" / "engines",
    )
    limits = settings.max_image_bytes, settings.max_image_pixels
    return Worker(engine, *limits, official().version, classifier=Recognition(settings).called)


class Annotator:
    """Finds every object in photos or, with ``detections``, the masks of a detector's boxes.

    label: of automatic masks. classifier: the name of learned classes, which take its place where they are sure.
    pool: where the work is done; by default in this process, with the official weights,
        which are loaded at the first use.
    """

    def __init__(
        self,
        label: str = "object",
        *,
        automatic: AutomaticSettings | None = None,
        detections: Detections | None = None,
        classifier: str = "",
        batching: Batching | None = None,
        pool: Pool | None = None,
        make_worker: MakeWorker = official_worker,
        settings: Settings | None = None,
    ) -> None:
        self._prompting = Prompting(label, automatic or AutomaticSettings(), detections, classifier)
        self._batching = batching or Batching()
        self._pool = pool or InProcess(make_worker, settings or Settings())

    def annotate(self, photos: Path | Iterable[Path]) -> Annotations:
        """``photos``: a folder, glob, list or URL as :func:`~maskloop.annotate.sources.find` takes it, or photos one by
        one. Raises AnnotateError if there are none, WeightsError without weights; what a photo lacks is in ``skipped``.
        """
        found = find(os.fspath(photos)) if isinstance(photos, str | os.PathLike) else of_references(photos)
        sources = list(distinct(found))
        done: dict[str, Annotated] = {}
        skipped: list[Skipped] = []
        for outcome in outcomes(sources, self._pool, self._prompting.job, self._batching):
            if isinstance(outcome, Annotated):
                done[outcome.source.reference] = outcome
                skipped += (Skipped(outcome.source.reference, problem) for problem in outcome.problems)
            else:
                skipped.append(outcome)
        asked = [source for source in sources if isinstance(source, Source)]
        skipped += self._prompting.left_over(asked)
        ordered = (done[source.reference] for source in asked if source.reference in done)
        return Annotations(tuple(ordered), tuple(skipped))

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
