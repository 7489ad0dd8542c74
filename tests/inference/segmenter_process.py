"""An engine that needs no weights, and a process that clicks with it, for tests of several at once.

``python segmenter_process.py DATA_DIR ROOT CLICKS MEMORY NAME...`` clicks on the images below ROOT in turns, as many
times as CLICKS, with caches below DATA_DIR of which MEMORY bytes in memory. It prints how many images it encoded, and
exits 1 if an answer is not that image's.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskloop.inference import Segmenter, open_segmenter
from maskloop.sam.values import EMBEDDING_SHAPE, Embedding, Image, ImageSize, MaskLogits, Prompt
from maskloop.settings import Settings


class FakeEngine:
    """Its answers depend on every pixel and every prompt. It notices when two threads are inside."""

    name = "fake"

    def __init__(self, identity: str = "fake-1") -> None:
        self.identity = identity
        self.encoded: list[ImageSize] = []
        self.decoded = 0
        self._busy = False

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        self._enter()
        embeddings = [self._encode(image) for image in images]
        self._busy = False
        return embeddings

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        return self.decode_each([embedding] * len(prompts), prompts, multimask=multimask)

    def decode_each(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompt], *, multimask: bool
    ) -> list[MaskLogits]:
        self._enter()
        self.decoded += 1
        asked = zip(embeddings, prompts, strict=True)
        answers = [self._decode(embedding, prompt, 3 if multimask else 1) for embedding, prompt in asked]
        self._busy = False
        return answers

    def _decode(self, embedding: Embedding, prompt: Prompt, count: int) -> MaskLogits:
        seen = embedding.features.reshape(-1)[: 256 * 256].reshape(256, 256).astype(np.float32)
        return MaskLogits(
            np.stack([seen + (number + prompt.points.sum()) / 64 for number in range(count)]).astype(np.float32),
            np.linspace(0.9, 0.99, count, dtype=np.float32),
            embedding.size,
        )

    def _encode(self, image: Image) -> Embedding:
        size = ImageSize(*image.shape[:2])
        self.encoded.append(size)
        seed = [*size, *np.bincount(image.reshape(-1), np.arange(image.size) % 9973, 256).astype(int).tolist()]
        features = np.random.default_rng(seed).normal(size=EMBEDDING_SHAPE)
        return Embedding(features.astype(np.float16), size)

    def _enter(self) -> None:
        assert not self._busy, "two threads are inside the engine"
        self._busy = True


def click(x: float, y: float) -> Prompt:
    return Prompt(np.array([[x, y]], np.float32), np.ones(1, np.int8))


def expected(image: Image, x: float, y: float) -> NDArray[np.float32]:
    """The logits of the one mask for a click on ``image``."""
    engine = FakeEngine()
    (answer,) = engine.decode(engine.encode([image])[0], [click(x, y)], multimask=False)
    return answer.logits


def alternate(segmenter: Segmenter, images: dict[str, NDArray[np.float32]], clicks: int) -> bool:
    """Clicks at (1, 2) on the images in turns; ``images`` holds the right answers by reference."""
    references = list(images)
    for turn in range(clicks):
        reference = references[turn % len(references)]
        (answer,) = segmenter.engine.decode(segmenter.embedding(reference), [click(1, 2)], multimask=False)
        if not np.array_equal(answer.logits, images[reference]):
            return False
    return True


def main(data_dir: str, root: str, clicks: str, memory: str, *names: str) -> None:
    settings = Settings(data_dir=Path(data_dir), local_files_root=Path(root), memory_cache_bytes=int(memory))
    references = [f"/data/local-files/?d={name}" for name in names]
    judge = open_segmenter(FakeEngine(), Settings(data_dir=Path(data_dir), local_files_root=Path(root)), model="")
    truth = {reference: expected(judge._loader.load(reference), 1, 2) for reference in references}
    print("ready", flush=True)
    sys.stdin.readline()
    engine = FakeEngine()
    right = alternate(open_segmenter(engine, settings, model=""), truth, int(clicks))
    print(len(engine.encoded), flush=True)
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
