"""`maskloop annotate` with an engine that needs no weights: ``stub_app.py ARGUMENT ...``; ``--worker REDIS_URL`` is a
batch worker of the same engine.

Its masks are what its prompts say: the box, or a disc around the point. In the environment, ANNOTATE_LOG names a file
that gets a line for each photo encoded (its mean colour), ANNOTATE_GATE a FIFO from which it takes a byte for each.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer

from maskloop.annotate.work import KIND, Worker
from maskloop.cli.annotate import command
from maskloop.dispatch.executor import Service
from maskloop.dispatch.queues import QueueName, connect
from maskloop.dispatch.worker import run_worker
from maskloop.errors import MaskloopError
from maskloop.sam.preprocess import resized
from maskloop.sam.values import LOGITS_SIDE, Embedding, Image, ImageSize, MaskLogits, Prompt
from maskloop.settings import Settings

RADIUS = 20.0
"""Of the disc around a point, pixels of the 256 square."""


class StubEngine:
    name = identity = "stub"

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        if gate := os.environ.get("ANNOTATE_GATE"):
            with Path(gate).open("rb", buffering=0) as file:
                while len(file.read(1)) < 1:
                    pass
        if log := os.environ.get("ANNOTATE_LOG"):
            with Path(log).open("a") as file:
                file.write("".join(f"{image.reshape(-1, 3).mean(axis=0).round().tolist()}\n" for image in images))
        return [
            Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(*image.shape[:2]))  # nothing to see
            for image in images
        ]

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        return [self._answer(embedding.size, prompt, 3 if multimask else 1) for prompt in prompts]

    def _answer(self, size: ImageSize, prompt: Prompt, count: int) -> MaskLogits:
        scale = LOGITS_SIDE / 1024 * np.array(resized(size)[::-1]) / [size.width, size.height]
        y, x = np.mgrid[:LOGITS_SIDE, :LOGITS_SIDE] + 0.5
        if prompt.box is not None:
            (x0, y0), (x1, y1) = prompt.box.reshape(2, 2) * scale
            inside = np.minimum(np.minimum(x - x0, x1 - x), np.minimum(y - y0, y1 - y))
        else:
            px, py = prompt.points[0] * scale
            inside = RADIUS - np.hypot(x - px, y - py)
        logits = np.repeat((inside * 10).astype(np.float32)[None], count, axis=0)
        return MaskLogits(logits, np.full(count, 0.95, np.float32), size)


def make_worker(settings: Settings) -> Worker:
    return Worker(StubEngine(), settings.max_image_bytes, settings.max_image_pixels, "stub-1")


def main() -> None:
    if sys.argv[1] == "--worker":
        worker = make_worker(Settings())
        run_worker(connect(sys.argv[2]), QueueName.BATCH, lambda: Service({KIND: lambda job, _: worker(job)}))
        return
    sys.path.insert(0, str(Path(__file__).parent))
    import stub_app  # under the name that the processes import it by

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command(stub_app.make_worker))
    try:
        app()
    except MaskloopError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
