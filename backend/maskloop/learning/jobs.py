"""The training job: a project's reviews in, a version that passed or failed the gate out.

Its version is named after what it learns from and how, so a job that was killed and comes again finds its checkpoint,
and one that finds nothing new trains nothing. What the gate refused is judged again when there is more, or another
version, to judge it by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from maskloop.cache import joint_identity
from maskloop.dispatch.context import JobContext
from maskloop.learning.approved import last_heard
from maskloop.learning.candidate import EncoderOf, make_candidate, prepare
from maskloop.learning.dataset import ReviewedPhoto, describe, fingerprint, split
from maskloop.learning.judging import HeldOut, judge, read_held_out
from maskloop.learning.orders import source
from maskloop.learning.registry import OFFICIAL, Judgement, Registry
from maskloop.learning.reviews import from_reviews
from maskloop.learning.store import FeedbackStore
from maskloop.learning.training import Progress
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.values import Image

ACTOR = "maskloop"
NOTHING_NEW = "Nothing new to learn from was reviewed since."
UNWRITTEN = "It went into service, but what the gate said of it was not written: that job was interrupted."


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
        learn, keep = split(photos)
        name = f"p{project}-{joint_identity(fingerprint(learn), self._settings.model_dump_json())[:12]}"
        trained, served = self._registry.has(name), self._registry.in_service(project)
        judged = self._registry.judgement(name) if trained else None
        removed = trained and not self._registry.size(name)
        if name == served and judged is None:
            return self._record(name, Judgement(passed=True, reason=UNWRITTEN, against=""), read_until, problems)
        if name == served or removed or (judged and (judged.passed or judged.taken_back)):
            return self._nothing_new(name, judged, read_until)
        held_out = read_held_out(self._watched(keep, context, "Reading held-out image"))
        problems |= {place: str(problem) for place, problem in held_out.problems.items()}
        if not trained:
            problems = self._train(name, project, learn, held_out, problems, read_until, context)
        elif judged and judged.judged_on == held_out.judged_on(served):
            return self._nothing_new(name, judged, read_until)
        context.check()
        context.progress(f"Judging {name}.")
        watch = partial(self._watched, context=context, doing=f"Judging {name}: image")
        while True:
            judgement = judge(
                self._registry, name, held_out, self._general, self._encoder_of, watch, self._threads, project=project
            )
            if not judgement.passed or self._registry.promote(name, project, instead_of=judgement.against):
                break  # otherwise somebody has put another version into service meanwhile
        return self._record(name, judgement, read_until, problems)

    def _train(
        self,
        name: str,
        project: int,
        learn: Sequence[ReviewedPhoto],
        held_out: HeldOut,
        problems: Mapping[str, str],
        read_until: datetime | None,
        context: JobContext,
    ) -> dict[str, str]:
        """Register the version. problems: what couldn't be used already; gives them and what else couldn't."""
        checkpoint = self._registry.checkpoint(name)
        self._registry.drop_checkpoints(f"p{project}-", but=name)
        encode = self._encoder_of(OFFICIAL).embedding_of
        watch = partial(self._watched, context=context, doing="Encoding image")
        prepared = prepare(learn, encode, self._settings, checkpoint.parent, watch, held_out=held_out.photos)
        prepared = prepared._replace(problems={**problems, **prepared.problems})

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

    def _record(
        self, name: str, judgement: Judgement, read_until: datetime | None, problems: Mapping[str, str]
    ) -> dict[str, Any]:
        self._registry.record_judgement(name, judgement.model_copy(update={"read_until": read_until}))
        details = {"passed": judgement.passed, "reason": judgement.reason, "problems": problems}
        self._store.record_action(ACTOR, "promote" if judgement.passed else "keep back", name, details)
        return self._told(name, judgement.reason)

    def _nothing_new(self, name: str, judged: Judgement | None, read_until: datetime | None) -> dict[str, Any]:
        """Reviews until then are no reason to look again."""
        if judged:
            self._registry.record_judgement(name, judged.model_copy(update={"read_until": read_until}))
        return self._told(name, NOTHING_NEW)

    def _told(self, name: str, reason: str) -> dict[str, Any]:
        judgement = self._registry.judgement(name)
        return {"version": name, "passed": bool(judgement and judgement.passed), "reason": reason}

    def _watched(self, photos: Sequence[ReviewedPhoto], context: JobContext, doing: str) -> Iterator[ReviewedPhoto]:
        for number, photo in enumerate(photos):
            context.check()
            context.progress(f"{doing} {number + 1} of {len(photos)}.")
            yield photo
