"""The official code, run beside ours on the same photos: what the measures compare with."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage

from maskloop.cache import image_identity
from maskloop.evaluation.everything import Found
from maskloop.evaluation.measure import Sample
from maskloop.evaluation.prompted import Candidates
from maskloop.official.process import OfficialProcess
from maskloop.sam.values import Mask, Prompt


class Reference(OfficialProcess):
    """The official code's answers as the measures want them. It is shown the very pixels that ours sees."""

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory()
        return super().__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        super().__exit__(kind, error, at)
        self._folder.cleanup()

    def segment(self, sample: Sample, prompts: Sequence[Prompt], multimask: bool) -> Iterator[Candidates]:
        """What ``SamPredictor.predict`` answers; each prompt is a click on the object or a box."""
        answers = self.ask(
            "predict",
            image=self._shown(sample),
            prompts=[_point_or_box(prompt) for prompt in prompts],
            multimask=multimask,
        )["answers"]
        for answer in answers:
            masks = np.stack([_unpacked(mask) for mask in answer["masks"]])
            yield Candidates(masks, np.array(answer["scores"], np.float32))

    def everything(self, sample: Sample, **settings: float) -> Found:
        """What ``SamAutomaticMaskGenerator(**settings)`` finds."""
        answer = self.ask("everything", image=self._shown(sample), settings=settings)
        masks = [Mask(_unpacked(mask), score) for mask, score in zip(answer["masks"], answer["scores"], strict=True)]
        return Found(masks, answer["seconds"])

    def _shown(self, sample: Sample) -> str:
        """A lossless file, until the next photo's."""
        file = Path(self._folder.name, f"{image_identity(sample.image)}.png")
        if not file.exists():
            for earlier in file.parent.iterdir():
                earlier.unlink()
            PillowImage.fromarray(sample.image).save(file, compress_level=1)
        return str(file)


def _point_or_box(prompt: Prompt) -> dict[str, list[float]]:
    return {"point": prompt.points[0].tolist()} if prompt.box is None else {"box": prompt.box.tolist()}


def _unpacked(mask: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = mask["shape"]
    bits = np.frombuffer(zlib.decompress(base64.b64decode(mask["bits"])), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
