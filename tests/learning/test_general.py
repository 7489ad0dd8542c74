"""What a project teaches must not cost what the model could do before; nonsense is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskloop.engines.torch_engine import TorchEngine
from maskloop.evaluation import clicking
from maskloop.evaluation.coco import GroundTruth
from maskloop.learning.candidate import Prepared, make_candidate
from maskloop.learning.dataset import ReviewedPhoto, describe, ground_truth
from maskloop.learning.gate import agree
from maskloop.learning.general import general_set
from maskloop.learning.judging import judge, read_held_out
from maskloop.learning.registry import OFFICIAL, Registry
from maskloop.learning.samples import Seen, prepare
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.network import load_model
from maskloop.sam.values import Embedding, Image

FEW, OBJECTS = 5, 4
"""Photos, and objects of each: as many as a gate needs."""
Photos = list[tuple[ReviewedPhoto, Embedding]]


class Known:
    """An encoder that gives the photos' embeddings."""

    identity = "official"

    def __init__(self, photos: Photos) -> None:
        self.embeddings = {photo.read().tobytes(): embedding for photo, embedding in photos}

    def embedding_of(self, image: Image) -> Embedding:
        return self.embeddings[image.tobytes()]


@pytest.fixture(scope="module")
def photos(official_weights: Path) -> Photos:
    engine = TorchEngine(load_model(official_weights))
    some = [replace(photo, objects=photo.objects[:OBJECTS]) for photo in general_set()[:FEW]]
    return [(photo, engine.encode([photo.read()])[0]) for photo in some]


def judged_by(photos: Photos) -> list[tuple[Embedding, tuple[GroundTruth, ...]]]:
    return [(embedding, photo.objects) for photo, embedding in photos]


@pytest.mark.weights
def test_the_official_model_agrees_with_itself(official_weights: Path, photos: Photos) -> None:
    agreement = agree(TorchEngine(load_model(official_weights)), judged_by(photos))
    assert len(agreement.box) == OBJECTS * FEW
    assert agreement.box.mean() > 0.98
    assert agreement.click.mean() > 0.95


@pytest.mark.weights
@pytest.mark.timeout(900)
def test_a_candidate_that_learned_from_shuffled_masks_is_refused(
    tmp_path: Path, official_weights: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each photo's masks lie on another photo, at the same place."""
    monkeypatch.setattr(clicking, "MOST_CLICKS", 5)  # nonsense would take them all
    registry = Registry(tmp_path / "models", lambda: official_weights)
    shuffled = Prepared([], [], {})
    for (photo, embedding), (other, _) in zip(photos, [*photos[1:], photos[0]], strict=True):
        masks = [np.resize(one.mask, embedding.size) for one in other.objects]
        shuffled.photos.append(ReviewedPhoto(photo.name, photo.read, tuple(map(ground_truth, masks))))
        shuffled.views.append([prepare(Seen(embedding), masks, seed=0)])
    how = TrainingSettings(
        epochs=2, learning_rate=2e-3, warmup_steps=0, prompts_per_step=8, average=0.5, official_share=0
    )
    make_candidate(registry, "nonsense", shuffled, describe("shuffled", shuffled.photos), how)
    some = [photo for photo, _ in photos]
    judgement = judge(registry, "nonsense", read_held_out(some), some, lambda _: Known(photos))
    assert not judgement.passed
    assert "one click isn't better" in judgement.reason
    assert "forgot" in judgement.reason
    assert registry.in_service() == OFFICIAL
    assert registry.chances("nonsense").prompted.judged == 2 * sum(len(photo.objects) for photo, _ in photos)
