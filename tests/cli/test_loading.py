"""A worker holds several versions of the model, and has them before they are asked for."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from maskloop.cli.loading import Models
from maskloop.errors import WeightsError
from maskloop.learning.registry import OFFICIAL, ModelVersion, Registry, UnknownVersion
from maskloop.learning.versions import registry_of
from maskloop.sam.network import load_model
from maskloop.settings import Settings

pytestmark = pytest.mark.weights


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, engine="torch-cpu", shared_cache_bytes=0)


@pytest.fixture
def models(settings: Settings, official_weights: Path) -> Models:
    return Models(settings)


@pytest.fixture
def registry(settings: Settings, official_weights: Path) -> Registry:
    """With a version ``new`` whose decoder was taught."""
    found, model = registry_of(settings), load_model(official_weights)
    model.mask_decoder.iou_token.weight.data *= 1.1
    found.add(ModelVersion(name="new"), model)
    return found


@pytest.fixture
def kept_up(models: Models, registry: Registry) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=models.keep_up, args=[stop])
    thread.start()
    yield
    stop.set()
    thread.join()


def test_an_image_that_one_version_saw_is_not_encoded_for_another(
    models: Models, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> NoReturn:
        raise AssertionError("encoded twice")

    image = np.zeros((48, 64, 3), np.uint8)
    seen = models.named(OFFICIAL).embedding_of(image)
    monkeypatch.setattr(models.named("new").engine, "encode", refuse)
    np.testing.assert_array_equal(models.named("new").embedding_of(image).features, seen.features)


def test_what_is_promoted_is_loaded_before_anybody_asks(
    models: Models, registry: Registry, kept_up: None, until: Callable[..., None]
) -> None:
    until(lambda: models.report()["version"] != "new" if models.report() else False, 60)
    registry.promote("new", project=7)
    until(lambda: models.report()["version"] == "new", 60)


def test_a_version_that_can_not_be_loaded_keeps_nobody_from_the_others(
    models: Models, registry: Registry, kept_up: None, until: Callable[..., None], settings: Settings
) -> None:
    registry.promote("new", project=7)
    (settings.data_dir / "models" / "new" / "weights.pt").write_bytes(b"damaged")
    until(lambda: bool(models.report()), 60)  # of the official one
    with pytest.raises(WeightsError, match="not those that were registered"):
        models.named("new")
    assert models.engine()[1] == models.report()["version"]


def test_a_version_that_is_not_there_is_said_so(models: Models) -> None:
    with pytest.raises(UnknownVersion, match="There are: official"):
        models.engine("none")
