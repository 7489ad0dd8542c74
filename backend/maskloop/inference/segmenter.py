"""What a worker holds: references and prompts in, masks out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from maskloop.cache import EmbeddingCache, ImageIndex, Known, ProposalsCache, Store, image_identity
from maskloop.engines.base import Engine
from maskloop.images import ImageLoader, Loaded, Source
from maskloop.images.sources import Remote
from maskloop.inference.micro_batching import MicroBatching
from maskloop.inference.recent import Recent
from maskloop.inference.refinement import Refinement
from maskloop.sam.automatic import AutomaticSettings, propose
from maskloop.sam.picking import Picker
from maskloop.sam.proposals import Proposals
from maskloop.sam.values import Embedding, Image, ImageSize, MaskLogits, Prompt

Objects = Callable[[ImageSize], Sequence[Sequence[Prompt]]]
"""Makes the prompts of each object once the image's size is known: Label Studio sends percentages of it."""
PICKERS = 32
"""Images whose proposals are kept ready to be clicked, each some 300 KB."""


class Segmenter:
    """Joins images, caches and engine. There is no "current image": every call names its own.

    Usable by several threads at once. ``store`` keeps embeddings and proposals, ``index`` which image a reference is;
    both may be shared with other processes, and each needs a store of its own. An image that is asked for by many at
    once is read and encoded once. ``model`` names the weights that ``engine`` runs: the engine's own identity is that
    of its embeddings, and the decoder may be another one.

    References are those of :class:`~maskloop.images.ImageLoader`. Every method checks the loader's policy, whatever
    the caches hold, and raises ImageRefused, ImageUnavailable or ImageUnreadable as ``ImageLoader.load`` does.
    """

    def __init__(self, engine: Engine, loader: ImageLoader, store: Store, index: ImageIndex, *, model: str) -> None:
        self.engine = MicroBatching(engine)
        self._model = model
        self._loader = loader
        self._embeddings = EmbeddingCache(store)
        self._proposals = ProposalsCache(store)
        self._index = index
        self._refinement = Refinement()
        self._pickers: Recent[Picker] = Recent(PICKERS)

    @property
    def identity(self) -> str:
        """Equal for segmenters whose embeddings are interchangeable."""
        return self.engine.identity

    def embedding(self, reference: str) -> Embedding:
        """What the encoder sees in the image."""
        return self._embedded(self._loader.locate(reference))[1]

    def embedding_of(self, image: Image) -> Embedding:
        """What the encoder sees in pixels that are at hand; kept like those of references."""
        identity = EmbeddingCache.identity(image_identity(image), self.engine.identity)
        with self._embeddings.lock(identity):
            embedding = self._embeddings.get(identity)
            if embedding is None:
                (embedding,) = self.engine.encode([image])
                self._embeddings.put(identity, embedding)
            return embedding

    def refine(self, reference: str, objects: Objects) -> list[MaskLogits]:
        """One mask for each object, given the prompts placed on it one after the other, each holding all so far."""
        known, embedding = self._embedded(self._loader.locate(reference))
        identity = self._identity(known)
        return [self._refinement.answer(self.engine, embedding, identity, steps) for steps in objects(embedding.size)]

    def everything(self, reference: str, settings: AutomaticSettings) -> Proposals:
        """The masks of all objects, best score first; they are kept, and not looked for twice."""
        source = self._loader.locate(reference)
        cached = self._proposals.get(self._proposals_identity(self._identified(source), settings))
        return cached if cached is not None else self._propose(source, settings)

    def image(self, reference: str) -> Image:
        """Its pixels, read anew: no cache has them."""
        return self._loader.read(self._loader.locate(reference)).image

    def picker(self, reference: str, settings: AutomaticSettings) -> Picker | None:
        """To pick from the masks of ``everything`` with these settings; None if they weren't looked for yet."""
        source = self._loader.locate(reference)
        if self._index.get(source.key) is None:
            return None
        identity = self._proposals_identity(self._identified(source), settings)
        picker = self._pickers.get(identity)
        if picker is None and (proposals := self._proposals.get(identity)) is not None:
            picker = Picker(proposals)
            self._pickers.put(identity, picker)
        return picker

    def prefetch(self, reference: str) -> bool:
        """Encodes the image ahead of the first click on it. Returns whether it had to: False if that was done."""
        source = self._loader.locate(reference)
        if self._cached(source) is not None:
            return False
        self._encode(source)
        return True

    def _embedded(self, source: Source) -> tuple[Known, Embedding]:
        return self._cached(source) or self._encode(source)

    def _cached(self, source: Source) -> tuple[Known, Embedding] | None:
        known = self._current(source)
        embedding = self._embeddings.get(self._identity(known)) if known is not None else None
        return (known, embedding) if known is not None and embedding is not None else None

    def _encode(self, source: Source) -> tuple[Known, Embedding]:
        """The embedding and the identity of the very pixels that it is of."""
        with self._index.lock(source.key):
            known, image = self._recognised(source)
            embedding = self._embeddings.get(self._identity(known))
            if embedding is not None:
                return known, embedding
            if image is None:
                known, image = self._read(source)
            with self._embeddings.lock(self._identity(known)):  # the same pixels may have several references
                embedding = self._embeddings.get(self._identity(known))
                if embedding is None:
                    (embedding,) = self.engine.encode([image])
                    self._embeddings.put(self._identity(known), embedding)
                return known, embedding

    def _propose(self, source: Source, settings: AutomaticSettings) -> Proposals:
        image = None
        if settings.needs_image:
            known, image = self._read(source)
            embedding = self.embedding_of(image)
        else:
            known, embedding = self._embedded(source)
        identity = self._proposals_identity(known, settings)
        with self._proposals.lock(identity):
            proposals = self._proposals.get(identity)
            if proposals is None:
                proposals = propose(self.engine, embedding, settings, image)
                self._proposals.put(identity, proposals)
            return proposals

    def _identity(self, known: Known) -> str:
        return EmbeddingCache.identity(known.image, self.engine.identity)

    def _proposals_identity(self, known: Known, settings: AutomaticSettings) -> str:
        return ProposalsCache.identity(self._identity(known), self._model, settings)

    def _identified(self, source: Source) -> Known:
        known = self._current(source)
        if known is not None:
            return known
        with self._index.lock(source.key):
            return self._recognised(source)[0]

    def _current(self, source: Source) -> Known | None:
        """What is known of the image, if it is surely still the same."""
        known = self._index.get(source.key)
        return known if known is not None and known.holds(source.version, time.time()) else None

    def _recognised(self, source: Source) -> tuple[Known, Image | None]:
        """What is known of the image, and the image if it had to be read for that."""
        known = self._index.get(source.key)
        if known is not None and known.holds(source.version, time.time()):
            return known, None
        if known is not None and known.etag is not None and isinstance(source, Remote):
            loaded = self._loader.read_if_changed(source, etag=known.etag)
            if loaded is not None:
                return self._learn(source, loaded), loaded.image
            known = replace(known, checked=time.time())
            self._index.put(source.key, known)
            return known, None
        return self._read(source)

    def _read(self, source: Source) -> tuple[Known, Image]:
        loaded = self._loader.read(source)
        return self._learn(source, loaded), loaded.image

    def _learn(self, source: Source, loaded: Loaded) -> Known:
        size = ImageSize(*loaded.image.shape[:2])
        known = Known(image_identity(loaded.image), size, loaded.version, loaded.etag, time.time())
        self._index.put(source.key, known)
        return known
