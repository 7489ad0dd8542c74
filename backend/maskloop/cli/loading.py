"""Versions of the model, loaded as jobs name them, and before anybody waits for them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import cv2

from maskloop.background import repeat
from maskloop.engines.choose import choose_engine
from maskloop.engines.network_engine import NetworkEngine
from maskloop.engines.runtime import available_threads
from maskloop.files import locked
from maskloop.inference import Segmenter, open_segmenter, open_shared
from maskloop.learning.calibration import Chances
from maskloop.learning.registry import Registry
from maskloop.learning.versions import name_of, registry_of, version_of
from maskloop.settings import Settings

MODELS_KEPT = 6
"""Versions that a worker holds, some 140 MB each: what projects have in service, a challenger, and what was in service
before, for jobs still under way."""
AHEAD = 4
"""Of them, those that are loaded before they are asked for."""
PAUSE = 1.0
"""Seconds between looks at what is in service."""


def open_engine(settings: Settings, registry: Registry, name: str, like: NetworkEngine | None = None) -> NetworkEngine:
    threads = settings.threads or available_threads()
    cv2.setNumThreads(threads)
    prepared = settings.data_dir / "cache" / "engines"
    with locked(prepared / "lock"):  # the first process prepares the network for this machine; others find that done
        return choose_engine(registry.weights(name), settings.engine, threads=threads, cache_dir=prepared, like=like)


class Models:
    """Segmenters by the version that a job names: each job is done by one version, whatever is promoted meanwhile.

    Thread-safe. Versions share what encodes, and caches.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry = registry_of(settings)
        self._shared = open_shared(settings)
        self._kept: OrderedDict[str, tuple[NetworkEngine, Segmenter]] = OrderedDict()
        self._lock, self._loading = threading.Lock(), threading.Lock()

    def engine(self, name: str = "") -> tuple[NetworkEngine, str]:
        """By its name in the registry, and its version; by default what is in service where projects have none of
        their own."""
        version = version_of(name or self._registry.in_service())
        return self._of(version)[0], version

    def of(self, version: str) -> Segmenter:
        """Loads the version if need be. Raises UnknownVersion or WeightsError."""
        return self._of(version)[1]

    def named(self, name: str) -> Segmenter:
        """By its name in the registry; raises the same."""
        return self.of(version_of(name))

    def keep_up(self, stop: threading.Event) -> None:
        """Load what is or comes into service, until ``stop`` is set. What fails then is told to who asks for it."""
        seen: set[str] = set()

        def load_new() -> None:
            for name in self._answering()[:AHEAD]:
                if name not in seen:
                    seen.add(name)
                    self.named(name)

        repeat(load_new, lambda: PAUSE, stop)

    def _answering(self) -> list[str]:
        challenge, answering = self._registry.challenge(), self._registry.answering().values()
        return list(dict.fromkeys([challenge.name, *answering] if challenge else answering))

    def _of(self, version: str) -> tuple[NetworkEngine, Segmenter]:
        found = self._held(version)
        if found is None:
            with self._loading:  # who asks for another version meanwhile doesn't wait
                found = self._held(version) or self._load(version)
        return found

    def _held(self, version: str) -> tuple[NetworkEngine, Segmenter] | None:
        with self._lock:
            if version in self._kept:
                self._kept.move_to_end(version)
            return self._kept.get(version)

    def _load(self, version: str) -> tuple[NetworkEngine, Segmenter]:
        name = name_of(version)
        with self._lock:
            like = next((engine for engine, _ in reversed(self._kept.values())), None)
        engine = open_engine(self._settings, self._registry, name, like)
        model = f"{version}-{self._registry.get(name).sha256}"
        made = engine, open_segmenter(engine, self._settings, model=model, shared=self._shared)
        with self._lock:
            self._kept[version] = made
            if len(self._kept) > MODELS_KEPT:
                self._kept.popitem(last=False)
        return made

    def chances(self, version: str, project: int | None = None) -> Chances:
        """What its scores are worth; asked for each job, because reviews go on. Raises UnknownVersion."""
        return self._registry.chances(name_of(version), project)

    def report(self) -> dict[str, Any]:
        """The version used last, and what runs it."""
        with self._lock:
            for version, (engine, _) in reversed(self._kept.items()):
                return {"version": version, "engine": engine.name, "engine_note": engine.note}
        return {}
