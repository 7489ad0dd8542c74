"""The official code as a process of its own, run by an interpreter in which ``mobile_sam`` imports.

Imports nothing of maskloop. Reads one JSON request a line from standard input and answers with one JSON line; each
answer also has "ms", what the operation took:

    {"op": "load", "weights": PATH}               -> {}
    {"op": "predict", "image": PATH, "prompts": [{"point": [x, y]} | {"box": [x0, y0, x1, y1]}], "multimask": true}
                                                  -> {"answers": [{"masks": [MASK], "scores": [0.9]}]}
    {"op": "everything", "image": PATH, "settings": {"points_per_side": 32}}
                                                  -> {"masks": [MASK], "scores": [0.9], "seconds": 151.0}
    {"op": "encode", "image": PATH}               -> {}                  file to embedding; the image stays set
    {"op": "decode", "x": 10, "y": 20}            -> {}                  one click to three masks of full size
    {"op": "click", "x": 10, "y": 20}             -> {}                  the same, and the best one's brush RLE
    {"op": "cold_click", "image": PATH, "x": 10, "y": 20} -> {}          file to brush RLE
    {"op": "rle"}                                 -> {}                  the SDK's encoder on the last click's mask

or {"error": "..."}. MASK is {"shape": [height, width], "bits": BASE64}, zlib of the pixels' bits in row order. Points
and boxes are in pixels; settings are arguments of the official ``SamAutomaticMaskGenerator``. Brush RLE needs
``label_studio_sdk``.
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
    mask: Any
    current: str | None = None

    def load(self, weights: str) -> dict[str, Any]:
        self.model = sam_model_registry["vit_t"](checkpoint=weights)
        self.model.train()  # the builder calls eval() before it loads: only a change of mode renews attention's biases
        self.model.eval()
        self.predictor = SamPredictor(self.model)
        return {}

    def encode(self, image: str) -> dict[str, Any]:
        self.predictor.set_image(pixels(image))
        self.current = image
        return {}

    def decode(self, x: float, y: float) -> dict[str, Any]:
        masks, scores, _ = self.predictor.predict(
            point_coords=np.array([[x, y]]), point_labels=np.array([1]), multimask_output=True
        )
        self.mask = masks[int(scores.argmax())]
        return {}

    def rle(self) -> dict[str, Any]:
        from label_studio_sdk.converter.brush import mask2rle

        mask2rle(self.mask.astype(np.uint8) * 255)  # type: ignore[no-untyped-call]
        return {}

    def click(self, x: float, y: float) -> dict[str, Any]:
        self.decode(x, y)
        return self.rle()

    def cold_click(self, image: str, x: float, y: float) -> dict[str, Any]:
        self.encode(image)
        return self.click(x, y)

    def predict(self, image: str, prompts: list[dict[str, list[float]]], multimask: bool) -> dict[str, Any]:
        if self.current != image:
            self.encode(image)
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
        start = time.perf_counter()
        try:
            answer = getattr(official, request.pop("op"))(**request)
        except Exception as error:  # noqa: BLE001 - the other process reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        answer["ms"] = (time.perf_counter() - start) * 1000
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
