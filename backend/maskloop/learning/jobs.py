"""The training job: a project's reviews in, a version that passed or failed the gate out.

Its version is named after what it learned from, so a job that was killed and comes again finds its checkpoint, and one
that finds nothing new trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from maskloop.dispatch.context import JobContext
from maskloop.errors import BadRequest
from maskloop.learning.approved import last_heard
from maskloop.learning.candidate import EncoderOf, judge, make_candidate, prepare
from maskloop.learning.dataset import ReviewedPhoto, describe, split
from maskloop.learning.orders import source
from maskloop.learning.registry import OFFICIAL, Registry
from maskloop.learning.reviews import from_reviews
from maskloop.learning.store import FeedbackStore
from maskloop.learning.training import Progress
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.values import Image

ACTOR = "maskloop"


class Trainer:
    """The handler of ``train`` jobs."""

    def __init__(
        self,
        store: FeedbackStore,
        registry: Registry,
        load: Callable[[str], Image],
        encoder_of: EncoderOf,
        settings: TrainingSettings,
        general: Sequence[ReviewedPhoto] = (),
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        """load: a task's image. general: photos that a candidate must not get worse on. threads: of the CPU. device: to
        train on."""
        self._store, self._registry = store, registry
        self._load, self._encoder_of = load, encoder_of
        self._settings, self._general, self._threads, self._device = settings, general, threads, device

    def __call__(self, payload: dict[str, Any], context: JobContext) -> dict[str, Any]:
        """Do what ``orders.submit`` asks for. Gives ``version``, ``passed`` and ``reason``.

        Raises BadRequest if there is nothing to learn from, and what the context raises: what was done is kept, and a
        later job goes on from there.
        """
        project = int(payload["project"])
        self._store.process_pending()
        read_until = last_heard(self._store, project)
        photos, problems = from_reviews(self._store, project, self._load)
        if problems and not photos:
            raise BadRequest("No reviewed mask can be used.", "Of {}: {}".format(*next(iter(problems.items()))))
        learn, keep = split(photos)
        name = f"p{project}-{describe('', learn).fingerprint[:12]}"
        if not self._registry.has(name):
            problems |= self._train(name, project, learn, keep, read_until, context)
        elif self._registry.judgement(name) or self._registry.in_service(project) == name:
            return self._told(name, "Nothing was reviewed since.")
        context.progress(f"Judging {name}.")
        watch = partial(self._checked, context=context)
        while True:
            judgement = judge(
                self._registry, name, keep, self._general, self._encoder_of, watch, self._threads, project=project
            )
            if not judgement.passed or self._registry.promote(name, project, instead_of=judgement.against):
                break  # otherwise somebody has put another version into service meanwhile
        self._registry.record_judgement(name, judgement)
        details = {"passed": judgement.passed, "reason": judgement.reason, "problems": problems}
        self._store.record_action(ACTOR, "promote" if judgement.passed else "keep back", name, details)
        return self._told(name, judgement.reason)

    def _train(
        self,
        name: str,
        project: int,
        learn: Sequence[ReviewedPhoto],
        keep: Sequence[ReviewedPhoto],
        read_until: datetime | None,
        context: JobContext,
    ) -> dict[str, str]:
        """Register the version; gives the photos that couldn't be used."""
        checkpoint, watch = self._registry.checkpoint(name), partial(self._watched, context=context)
        self._registry.drop_checkpoints(f"p{project}-", but=name)
        encode = self._encoder_of(OFFICIAL).embedding_of
        prepared = prepare(
            learn, encode, self._settings, checkpoint.parent, watch, held_out=self._checked(keep, context)
        )

        def on_progress(step: Progress) -> None:
            context.check()
            context.progress(f"Training {name}: step {step.step} of {step.steps}, loss {step.loss:.3f}.")

        make_candidate(
            self._registry,
            name,
            prepared,
            describe(source(project), prepared.photos, read_until),
            self._settings,
            threads=self._threads,
            device=self._device,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )
        return prepared.problems

    def _told(self, name: str, reason: str) -> dict[str, Any]:
        judgement = self._registry.judgement(name)
        return {"version": name, "passed": bool(judgement and judgement.passed), "reason": reason}

    def _watched(self, photos: Sequence[ReviewedPhoto], context: JobContext) -> Iterator[ReviewedPhoto]:
        for number, photo in enumerate(self._checked(photos, context)):
            context.progress(f"Encoding image {number + 1} of {len(photos)}.")
            yield photo

    def _checked(self, photos: Sequence[ReviewedPhoto], context: JobContext) -> Iterator[ReviewedPhoto]:
        for photo in photos:
            context.check()
            yield photo
