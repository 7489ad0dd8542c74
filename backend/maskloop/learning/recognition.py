"""What names masks: classifiers, and the network that tells how objects look, loaded when it is first needed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from maskloop.cache import image_identity, joint_identity
from maskloop.engines.runtime import available_threads
from maskloop.engines.torch_engine import torch_threads
from maskloop.inference.opening import open_store
from maskloop.learning.classifiers import classifiers_of, of_project
from maskloop.learning.examples import Mask, classify_with
from maskloop.sam.appearance import Describer, Looks
from maskloop.sam.network import load_model
from maskloop.sam.protocols import Classify
from maskloop.sam.values import LOOKS_LENGTH, Image
from maskloop.settings import Settings
from maskloop.weights import verified_path

MEMORY, SHARED = 8 << 20, 256 << 20
"""Bytes of what is known of the looks of objects: each takes 2.5 KB."""


class Recognition:
    """Usable by several threads at once. What an object looks like is found out once, on whichever worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._turn = threading.Lock()
        self.classifiers = classifiers_of(settings)
        self._store = open_store("looks", MEMORY, min(SHARED, settings.shared_cache_bytes), settings)

    def of_project(self, project: int | None) -> Classify | None:
        """None if the project has no classes yet. Raises BadRequest if they are damaged."""
        found = None if project is None else self.classifiers.find(of_project(project))
        return None if found is None else classify_with(found, self.describe)

    def called(self, name: str) -> Classify:
        """Raises BadRequest if there are no classes of this name."""
        return classify_with(self.classifiers.get(name), self.describe)

    def describe(self, image: Image, masks: Sequence[Mask]) -> Looks:
        """See :class:`~maskloop.sam.appearance.Describer`."""
        pixels = image_identity(image)
        keys = [_key(pixels, mask) for mask in masks]
        known = [self._store.get(key) for key in keys]
        looks = np.zeros((len(masks), LOOKS_LENGTH), np.float32)
        missing = [index for index, data in enumerate(known) if data is None or len(data) != 4 * LOOKS_LENGTH]
        for index, data in enumerate(known):
            if index not in missing and data is not None:
                looks[index] = np.frombuffer(data, "<f4")
        if missing:
            with self._turn, torch_threads(self._settings.threads or available_threads()):
                looks[missing] = self._describer(image, [masks[index] for index in missing])
            for index in missing:
                self._store.put(keys[index], looks[index].astype("<f4").tobytes())
        return looks

    @cached_property
    def _describer(self) -> Describer:
        return Describer(load_model(verified_path(self._settings.weights_dir)).image_encoder)


def _key(image: str, mask: Mask) -> str:
    return joint_identity("looks", "2", image, hashlib.sha256(np.packbits(mask).tobytes()).hexdigest())
