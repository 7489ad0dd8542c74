"""The official code as a process of its own, run by an interpreter in which ``mobile_sam`` imports.

Imports nothing of maskloop. Reads one JSON request a line from standard input and answers with one JSON line:

    {"op": "load", "weights": PATH, "threads": 2} -> {}                              0 threads: torch's choice
    {"op": "predict", "image": PATH, "prompts": [{"point": [x, y]} | {"box": [x0, y0, x1, y1]}], "multimask": true}
                                                  -> {"answers": [{"masks": [MASK], "scores": [0.9]}]}
    {"op": "everything", "image": PATH, "settings": {"points_per_side": 32}}
                                                  -> {"masks": [MASK], "scores": [0.9], "seconds": 151.0}

or {"error": "..."}. MASK is {"shape": [height, width], "bits": BASE64}, zlib of the pixels' bits in row order. Points
and boxes are in pixels; settings are arguments of the official ``SamAutomaticMaskGenerator``.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import warnings
import zlib
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mobile_sam import (  # type: ignore[import-not-found]  # noqa: E402
    SamAutomaticMaskGenerator,
    SamPredictor,
    sam_model_registry,
)
from PIL import Image  # noqa: E402


class Official:
    model: Any
    predictor: Any
    current: str | None = None

    def load(self, weights: str, threads: int) -> dict[str, Any]:
        if threads:
            torch.set_num_threads(threads)
        self.model = sam_model_registry["vit_t"](checkpoint=weights)
        self.model.eval()  # again: the builder's own comes before it loads, and leaves stale attention biases behind
        self.predictor = SamPredictor(self.model)
        return {}

    def predict(self, image: str, prompts: list[dict[str, list[float]]], multimask: bool) -> dict[str, Any]:
        if self.current != image:
            self.predictor.set_image(pixels(image))
            self.current = image
        answers = []
        for prompt in prompts:
            point, box = prompt.get("point"), prompt.get("box")
            masks, scores, _ = self.predictor.predict(
                point_coords=None if point is None else np.array([point]),
                point_labels=None if point is None else np.array([1]),
                box=None if box is None else np.array(box),
                multimask_output=multimask,
            )
            answers.append({"masks": [packed(mask) for mask in masks], "scores": scores.tolist()})
        return {"answers": answers}

    def everything(self, image: str, settings: dict[str, Any]) -> dict[str, Any]:
        generator, photo = SamAutomaticMaskGenerator(self.model, **settings), pixels(image)
        start = time.perf_counter()
        found = generator.generate(photo)
        seconds = time.perf_counter() - start
        return {
            "masks": [packed(one["segmentation"]) for one in found],
            "scores": [one["predicted_iou"] for one in found],
            "seconds": seconds,
        }


def pixels(path: str) -> Any:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def packed(mask: Any) -> dict[str, Any]:
    bits = zlib.compress(np.packbits(mask).tobytes(), 1)
    return {"shape": list(mask.shape), "bits": base64.b64encode(bits).decode()}


def main() -> None:
    torch.set_grad_enabled(False)
    official = Official()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(official, request.pop("op"))(**request)
        except Exception as error:  # noqa: BLE001 - the other process reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
