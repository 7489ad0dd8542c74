"""A training job: from a project's reviews to a version that the gate has judged."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy import select

from maskloop.errors import BadRequest, ImageUnavailable
from maskloop.geometry.label_studio_rle import encode as rle
from maskloop.learning import jobs
from maskloop.learning.jobs import NOTHING_NEW, Trainer
from maskloop.learning.orders import is_due
from maskloop.learning.registry import OFFICIAL, Judgement, ModelVersion, Registry
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import AuditLine
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.network import MobileSam
from maskloop.sam.values import Embedding, Image, ImageSize

PROJECT = {"id": 7, "parsed_label_config": {"brush": {"inputs": [{"value": "photo"}], "labels": ["Dog"]}}}
TASKS = range(1, 9)  # tasks 2, 3 and 8 are held out
HELD_OUT = 11
"""Another one."""
SETTINGS = TrainingSettings(epochs=1, refining_share=0.0, views=1, prompts_per_step=1)


class Told:
    """A context that listens; it can end the job after some checks."""

    def __init__(self, end_after: int | None = None) -> None:
        self.messages: list[str] = []
        self._left = end_after

    def progress(self, message: str) -> None:
        self.messages.append(message)

    def check(self) -> None:
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise InterruptedError


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mobile_sam.pt"
    torch.save(MobileSam().state_dict(), path)
    return path


@pytest.fixture
def registry(tmp_path: Path, official: Path) -> Registry:
    return Registry(tmp_path / "models", lambda: official)


@pytest.fixture
def store(sqlite_store: FeedbackStore) -> FeedbackStore:
    for task in TASKS:
        review(sqlite_store, task)
    return sqlite_store


def review(store: FeedbackStore, task: int, updated_at: str = "2026-11-21T00:00:00Z") -> None:
    mask = np.zeros((48, 64), bool)
    mask[5:30, task : task + 20] = True
    value = {"format": "rle", "rle": rle(mask), "brushlabels": ["Dog"]}
    region = {"id": "r", "type": "brushlabels", "from_name": "brush", "value": value}
    found = {"id": task, "task": task, "project": 7, "updated_at": updated_at}
    found["result"] = [region | {"original_width": 64, "original_height": 48}]
    seen = {"id": task, "project": 7, "data": {"photo": f"{task}.png"}}
    store.record_event({"action": "ANNOTATION_CREATED", "annotation": found, "task": seen, "project": PROJECT})


def load(reference: str) -> Image:
    if reference == "1.png":
        raise ImageUnavailable("1.png is gone.")
    return np.full((48, 64, 3), int(reference.removesuffix(".png")), np.uint8)


class Noise:
    """An encoder."""

    identity = "noise"

    def embedding_of(self, _: Image) -> Embedding:
        features = np.random.default_rng(0).normal(size=(256, 64, 64)).astype(np.float16)
        return Embedding(features, ImageSize(48, 64))


@pytest.fixture
def trainer(store: FeedbackStore, registry: Registry) -> Trainer:
    return Trainer(store, registry, load, lambda _: Noise(), SETTINGS)


def test_reviews_become_a_judged_version(trainer: Trainer, registry: Registry, store: FeedbackStore) -> None:
    context = Told()
    told = trainer({"project": 7}, context)
    version = registry.get(told["version"])
    assert version.data is not None
    assert version.data.objects == version.data.photos == len(TASKS) - 4  # three are held out, one is gone
    assert version.settings["epochs"] == 1
    assert not told["passed"]
    assert "too few" in told["reason"]
    assert registry.in_service() == OFFICIAL
    assert registry.judgement(version.name) is not None
    assert any("step 1 of" in message for message in context.messages)
    store.process_pending()
    with store.session() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.action == "keep back")).one()
    assert line.subject == version.name
    assert line.details["problems"] == {"task 1": "1.png is gone."}


def test_what_passes_the_gate_goes_into_service_where_it_was_taught(
    trainer: Trainer, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(registry: Registry, name: str, *_: Any, project: int) -> Judgement:
        return Judgement(passed=True, reason="better", against=registry.in_service(project))

    monkeypatch.setattr(jobs, "judge", judge)
    told = trainer({"project": 7}, Told())
    assert told["passed"]
    assert registry.answering() == {7: told["version"], None: OFFICIAL}


def test_a_version_that_took_over_meanwhile_is_the_one_to_beat(
    trainer: Trainer, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    beaten: list[str] = []

    def judge(registry: Registry, name: str, *_: Any, project: int) -> Judgement:
        beaten.append(registry.in_service(project))
        if len(beaten) == 1:
            registry.add(ModelVersion(name="mine"), MobileSam())
            registry.promote("mine", project)
        return Judgement(passed=True, reason="better", against=beaten[-1])

    monkeypatch.setattr(jobs, "judge", judge)
    told = trainer({"project": 7}, Told())
    assert beaten == [OFFICIAL, "mine"]
    assert registry.in_service(7) == told["version"]
    judgement = registry.judgement(told["version"])
    assert judgement is not None
    assert judgement.against == "mine"


def test_a_promotion_that_the_disk_refused_is_made_the_next_time(
    trainer: Trainer, registry: Registry, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(registry: Registry, name: str, *_: Any, project: int) -> Judgement:
        return Judgement(passed=True, reason="better", against=registry.in_service(project))

    def full(*_: object, **__: object) -> bool:
        raise OSError("No space left on device")

    monkeypatch.setattr(jobs, "judge", judge)
    with monkeypatch.context() as full_disk:
        full_disk.setattr(Registry, "promote", full)
        with pytest.raises(OSError, match="No space"):
            trainer({"project": 7}, Told())
    told = trainer({"project": 7}, Told())
    assert registry.in_service(7) == told["version"]
    assert told["passed"]
    registry.rollback(project=7)
    review(store, HELD_OUT)
    trainer({"project": 7}, Told())
    assert registry.in_service(7) == OFFICIAL, "what somebody took back doesn't come again by itself"


def test_a_job_killed_between_promoting_and_saying_so_is_made_up_for(
    trainer: Trainer, registry: Registry, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def judge(registry: Registry, name: str, *_: Any, project: int) -> Judgement:
        return Judgement(passed=True, reason="better", against=registry.in_service(project))

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs, "judge", judge)
    with monkeypatch.context() as killing:
        killing.setattr(Registry, "record_judgement", killed)
        with pytest.raises(KeyboardInterrupt):
            trainer({"project": 7}, Told())
    told = trainer({"project": 7}, Told())
    assert told["passed"]
    assert registry.in_service(7) == told["version"]
    store.process_pending()
    with store.session() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.subject == told["version"])).one()
    assert line.action == "promote"
    registry.rollback(project=7)
    review(store, HELD_OUT)
    trainer({"project": 7}, Told())
    assert registry.in_service(7) == OFFICIAL, "what somebody took back doesn't come again by itself"


def test_a_photo_that_is_held_out_is_not_learned_from_in_another_task(store: FeedbackStore, registry: Registry) -> None:
    def same(reference: str) -> Image:
        """Task 1 shows the photo of task 2, which is held out."""
        number = 2 if reference == "1.png" else int(reference.removesuffix(".png"))
        return np.full((48, 64, 3), number, np.uint8)

    told = Trainer(store, registry, same, lambda _: Noise(), SETTINGS)({"project": 7}, Told())
    version = registry.get(told["version"])
    assert version.data is not None
    assert version.data.photos == len(TASKS) - 4
    store.process_pending()
    with store.session() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.action == "keep back")).one()
    assert line.details["problems"] == {"task 1": "The same photo is held out for the gate."}


def test_the_state_of_trainings_that_will_not_go_on_is_removed(
    trainer: Trainer, registry: Registry, store: FeedbackStore
) -> None:
    old, other = registry.checkpoint("p7-0123"), registry.checkpoint("p70-0123")
    for path in (old, other):
        path.write_bytes(b"state")
    trainer({"project": 7}, Told())
    assert (old.exists(), other.exists()) == (False, True)


def test_without_new_reviews_nothing_is_trained(trainer: Trainer, registry: Registry, store: FeedbackStore) -> None:
    first = trainer({"project": 7}, Told())
    assert trainer({"project": 7}, Told()) == first | {"reason": NOTHING_NEW}
    other = Trainer(store, registry, load, lambda _: Noise(), SETTINGS.model_copy(update={"epochs": 2}))
    with pytest.raises(InterruptedError):  # with other settings it is
        other({"project": 7}, Told(end_after=len(TASKS)))
    review(store, 20)
    assert trainer({"project": 7}, Told())["version"] != first["version"]
    assert len(registry.versions()) == 3


def test_a_version_is_judged_when_its_photos_can_be_had_and_again_when_there_are_more(
    registry: Registry, store: FeedbackStore
) -> None:
    away = {"2.png"}

    def sometimes(reference: str) -> Image:
        if reference in away:
            raise ImageUnavailable("Label Studio doesn't answer.")
        return load(reference)

    trainer = Trainer(store, registry, sometimes, lambda _: Noise(), SETTINGS)
    with pytest.raises(ImageUnavailable, match="Label Studio doesn't answer"):
        trainer({"project": 7}, Told())
    away.clear()
    refused = trainer({"project": 7}, Told())
    assert refused["reason"].startswith("3 held-out objects on 3 photos")
    review(store, HELD_OUT)
    again = trainer({"project": 7}, Told())
    assert again["reason"].startswith("4 held-out objects on 4 photos")
    assert [one.name for one in registry.versions()] == [OFFICIAL, refused["version"]]


def test_a_version_that_somebody_removed_is_not_trained_again(trainer: Trainer, registry: Registry) -> None:
    told = trainer({"project": 7}, Told())
    registry.remove(told["version"])
    again = trainer({"project": 7}, Told())
    assert (again["version"], again["reason"]) == (told["version"], NOTHING_NEW)


def test_a_project_is_due_after_so_many_new_reviews(trainer: Trainer, registry: Registry, store: FeedbackStore) -> None:
    store.process_pending()
    assert is_due(store, registry, 7, len(TASKS))
    assert not is_due(store, registry, 7, len(TASKS) + 1)
    trainer({"project": 7}, Told())
    assert not is_due(store, registry, 7, 1)
    review(store, 20)
    store.process_pending()
    assert is_due(store, registry, 7, 1)
    assert not is_due(store, registry, 7, 2)


def test_a_project_is_not_due_for_what_a_job_found_to_be_nothing_new(
    trainer: Trainer, registry: Registry, store: FeedbackStore
) -> None:
    """The same annotation saved again, say."""
    told = trainer({"project": 7}, Told())
    review(store, TASKS[-2], updated_at="2026-11-22T00:00:00Z")
    store.process_pending()
    assert is_due(store, registry, 7, 1)
    assert trainer({"project": 7}, Told())["version"] == told["version"]
    assert not is_due(store, registry, 7, 1)


def test_a_version_that_was_put_into_service_by_hand_and_taken_back_does_not_come_again(
    trainer: Trainer, registry: Registry, store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = trainer({"project": 7}, Told())
    registry.promote(refused["version"], 7)
    registry.rollback(7)

    def judge(registry: Registry, name: str, *_: Any, project: int) -> Judgement:
        return Judgement(passed=True, reason="better", against=registry.in_service(project))

    monkeypatch.setattr(jobs, "judge", judge)
    review(store, HELD_OUT)
    trainer({"project": 7}, Told())
    assert registry.in_service(7) == OFFICIAL


def test_what_was_reviewed_while_a_version_learned_counts_for_the_next(
    trainer: Trainer, registry: Registry, store: FeedbackStore
) -> None:
    class Slow(Told):
        """Somebody reviews another task meanwhile."""

        def progress(self, message: str) -> None:
            if not self.messages:
                review(store, 20)
                store.process_pending()
            super().progress(message)

    trainer({"project": 7}, Slow())
    assert is_due(store, registry, 7, 1)


def test_a_job_that_has_to_stop_is_taken_up_again(trainer: Trainer, registry: Registry) -> None:
    steps = len(TASKS) - 4
    with pytest.raises(InterruptedError):
        trainer({"project": 7}, Told(end_after=len(TASKS) + 2))
    assert len(registry.versions()) == 1
    with pytest.raises(InterruptedError):  # trained, but not judged
        trainer({"project": 7}, Told(end_after=len(TASKS) + steps))
    assert len(registry.versions()) == 2
    told = trainer({"project": 7}, Told())
    assert registry.judgement(told["version"]) is not None
    assert len(registry.versions()) == 2


def test_a_project_without_reviews_cannot_be_trained(trainer: Trainer) -> None:
    with pytest.raises(BadRequest, match="maskloop sync"):
        trainer({"project": 8}, Told())
