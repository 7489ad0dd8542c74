"""The official code as a process of its own: run by the interpreter in which ``mobile_sam`` imports.

Imports nothing of maskloop. Reads one JSON request a line from standard input, answers with one JSON line:

    {"op": "load", "weights": PATH}          -> {"ms", "memory"}       memory in bytes, resident
    {"op": "encode", "image": PATH}          -> {"ms"}                 pixels to embedding; the image stays set
    {"op": "decode", "x": 10, "y": 20}       -> {"ms"}                 one click to three masks at full size
    {"op": "click", "x": 10, "y": 20}        -> {"ms"}                 decode, best of three, brush RLE by the SDK
    {"op": "cold_click", "image": PATH, ...} -> {"ms"}                 encode and click
    {"op": "rle"}                            -> {"ms"}                 the SDK's encoder on the last click's mask
    {"op": "generate", "image": PATH, "points_per_side": 32} -> {"ms", "masks"}
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from label_studio_sdk.converter.brush import mask2rle  # noqa: E402
from mobile_sam import (  # type: ignore[import-not-found]  # noqa: E402
    SamAutomaticMaskGenerator,
    SamPredictor,
    sam_model_registry,
)
from PIL import Image  # noqa: E402


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a stand-alone script
        return int(file.read().split()[1]) * 4096


class Official:
    def __init__(self) -> None:
        self.predictor: Any = None
        self.model: Any = None
        self.mask: Any = None

    def load(self, weights: str) -> dict[str, Any]:
        self.model = sam_model_registry["vit_t"](checkpoint=weights)
        self.model.train()
        self.model.eval()  # the official builder calls eval() before it loads: the attention bias cache is stale then
        self.predictor = SamPredictor(self.model)
        return {"memory": resident_bytes()}

    def encode(self, image: str) -> dict[str, Any]:
        self.predictor.set_image(np.asarray(Image.open(image).convert("RGB")))
        return {}

    def decode(self, x: float, y: float) -> dict[str, Any]:
        masks, scores, _ = self.predictor.predict(
            point_coords=np.array([[x, y]]), point_labels=np.array([1]), multimask_output=True
        )
        self.mask = masks[int(scores.argmax())]
        return {}

    def click(self, x: float, y: float) -> dict[str, Any]:
        self.decode(x, y)
        return self.rle()

    def cold_click(self, image: str, x: float, y: float) -> dict[str, Any]:
        self.encode(image)
        return self.click(x, y)

    def rle(self) -> dict[str, Any]:
        mask2rle(self.mask.astype(np.uint8) * 255)  # type: ignore[no-untyped-call]
        return {}

    def generate(self, image: str, points_per_side: int) -> dict[str, Any]:
        generator = SamAutomaticMaskGenerator(self.model, points_per_side=points_per_side)
        return {"masks": len(generator.generate(np.asarray(Image.open(image).convert("RGB"))))}


def main() -> None:
    torch.set_grad_enabled(False)
    official = Official()
    for line in sys.stdin:
        request = json.loads(line)
        operation = getattr(official, request.pop("op"))
        start = time.perf_counter()
        answer = operation(**request)
        answer["ms"] = (time.perf_counter() - start) * 1000
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
