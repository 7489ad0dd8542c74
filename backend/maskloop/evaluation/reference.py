"""The official code, run beside ours on the same photos: the other end of ``official.py``."""

from __future__ import annotations

import base64
import json
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from maskloop.errors import BadRequest
from maskloop.evaluation.everything import Found
from maskloop.evaluation.measure import Sample
from maskloop.evaluation.prompted import Candidates
from maskloop.sam.values import Mask, Prompt

SCRIPT = Path(__file__).with_name("official.py")


class Reference:
    """The official predictor and generator in a process of its own; a context manager that ends it.

    python: an interpreter in which ``mobile_sam`` imports. weights: the official checkpoint. threads: of torch, 0 for
    its own choice. Raises BadRequest if it doesn't start or fails.
    """

    def __init__(self, python: Path, weights: Path, *, threads: int = 0) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter that the user names
                [str(python), str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise BadRequest(f"{python} can't be started: {error.strerror}.") from error
        self._ask(op="load", weights=str(weights.resolve()), threads=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def segment(self, sample: Sample, prompts: Sequence[Prompt], multimask: bool) -> Iterator[Candidates]:
        """What ``SamPredictor.predict`` answers; each prompt is a click on the object or a box."""
        answers = self._ask(
            op="predict",
            image=str(sample.photo.path.resolve()),
            prompts=[_point_or_box(prompt) for prompt in prompts],
            multimask=multimask,
        )["answers"]
        for answer in answers:
            masks = np.stack([_unpacked(mask) for mask in answer["masks"]])
            yield Candidates(masks, np.array(answer["scores"], np.float32))

    def everything(self, sample: Sample, **settings: float) -> Found:
        """What ``SamAutomaticMaskGenerator(**settings)`` finds."""
        answer = self._ask(op="everything", image=str(sample.photo.path.resolve()), settings=settings)
        masks = [Mask(_unpacked(mask), score) for mask, score in zip(answer["masks"], answer["scores"], strict=True)]
        return Found(masks, answer["seconds"])

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BadRequest(
                "The official code's process ended; what it said is above.",
                "Its interpreter needs mobilesam-mirror, timm, torch and torchvision (the extra `reference`).",
            )
        answer = json.loads(line)
        if "error" in answer:
            raise BadRequest(f"The official code failed: {answer['error']}.")
        return answer


def _point_or_box(prompt: Prompt) -> dict[str, list[float]]:
    return {"point": prompt.points[0].tolist()} if prompt.box is None else {"box": prompt.box.tolist()}


def _unpacked(mask: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = mask["shape"]
    bits = np.frombuffer(zlib.decompress(base64.b64decode(mask["bits"])), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
