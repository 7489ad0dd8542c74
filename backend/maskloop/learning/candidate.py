"""From reviewed photos to a registered version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from maskloop.cache import image_identity
from maskloop.engines.torch_engine import torch_threads
from maskloop.errors import BadRequest, MaskloopError, StorageError
from maskloop.learning.dataset import ReviewedPhoto, views
from maskloop.learning.registry import OFFICIAL, ModelVersion, Registry, TrainingData
from maskloop.learning.samples import Sample, Seen, squared
from maskloop.learning.shelf import Shelf
from maskloop.learning.training import Progress, train
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.network import load_model
from maskloop.sam.preprocess import SQUARE
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, Image

log = logging.getLogger(__name__)

MOST_VIEWS = 4096
"""Of all photos together, 2 MiB of disk each, 5 with adapters; with more photos than these there is one of each."""

Encode = Callable[[Image], Embedding]


class Encoder(Protocol):
    """What an ``inference.Segmenter`` offers. identity: equal for encoders that see the same."""

    @property
    def identity(self) -> str: ...

    def embedding_of(self, image: Image) -> Embedding: ...


EncoderOf = Callable[[str], Encoder]
"""That of a version."""


class Prepared(NamedTuple):
    """Photos that could be read, their views, and by name what can't be learned from, and why."""

    photos: list[ReviewedPhoto]
    views: list[list[Sample]]
    problems: dict[str, str]


Watch = Callable[[Sequence[ReviewedPhoto]], Iterable[ReviewedPhoto]]
"""Gives the photos one by one, and may tell somebody or raise in between."""


def prepare(
    photos: Sequence[ReviewedPhoto],
    encode: Encode,
    settings: TrainingSettings,
    folder: Path,
    watch: Watch = iter,
    *,
    held_out: Collection[str] = (),
) -> Prepared:
    """Read and encode, by the encoder that training starts from; what fails is recorded and left out.

    folder: on the disk that keeps embeddings meanwhile. held_out: identities of photos that must not be learned from
    under another name either.
    """
    found = Prepared([], [], {})
    features, squares = Shelf(folder, EMBEDDING_SHAPE, np.float16), Shelf(folder, (*SQUARE, 3), np.uint8)
    count = max(1, min(settings.views, MOST_VIEWS // max(1, len(photos))))

    def see(image: Image) -> Seen:
        embedding = encode(image)
        pixels = squares.put(squared(image)) if settings.adapter_rank else None
        return Seen(Embedding(features.put(embedding.features), embedding.size), pixels)

    for photo in watch(photos):
        try:
            image = photo.read()
            if image_identity(image) in held_out:
                raise BadRequest("The same photo is held out for the gate.")
            prepared = views(photo, image, see, count, settings.seed)
        except StorageError:
            raise
        except MaskloopError as error:
            log.warning("%s is left out: %s", photo.name, error)
            found.problems[photo.name] = str(error)
        else:
            found.photos.append(photo)
            found.views.append(prepared)
            if small := len(photo.some()) - len(prepared[0].targets):
                found.problems[photo.name] = f"{small} of its masks are too small to learn from unless enlarged."
    return found


def make_candidate(
    registry: Registry,
    name: str,
    prepared: Prepared,
    data: TrainingData,
    settings: TrainingSettings,
    *,
    parent: str = OFFICIAL,
    threads: int = 1,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> ModelVersion:
    """Train version ``name`` from ``parent`` and register it. data: tells of the photos.

    Raises BadRequest if there is nothing to learn from, or if the name is taken, and WeightsError if the parent's file
    is damaged, and what ``train`` raises.
    """
    if not any(sample.targets for sample_views in prepared.views for sample in sample_views):
        hint = "Of {}: {}".format(*next(iter(prepared.problems.items()))) if prepared.problems else ""
        raise BadRequest("There is no reviewed mask to learn from.", hint)
    registry.check_free(name)
    with torch_threads(threads):
        model = train(
            load_model(registry.weights(parent)),
            load_model(registry.weights(OFFICIAL)),
            prepared.views,
            settings,
            device=device,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )
    version = ModelVersion(name=name, parent=parent, data=data, settings=settings.model_dump())
    added = registry.add(version, model)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return added
