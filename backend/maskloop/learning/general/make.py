"""How the general set was made: ``python -m maskloop.learning.general.make`` writes its annotations anew.

Objects, and parts of objects, that the official model finds by itself and that a box around them gives again.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskloop.engines.base import Engine
from maskloop.engines.torch_engine import TorchEngine
from maskloop.geometry import boxes, coco_rle, masks
from maskloop.images.decode import decode
from maskloop.learning.general import ANNOTATIONS, FOLDER
from maskloop.sam.automatic import AutomaticSettings, propose
from maskloop.sam.masks import upscale
from maskloop.sam.network import load_model
from maskloop.sam.values import Embedding, Prompt
from maskloop.settings import Settings
from maskloop.weights import verified_path

SETTINGS = AutomaticSettings(points_per_side=16, pred_iou_thresh=0.9)
SMALLEST, LARGEST = 0.002, 0.6
"""Share of the photo that an object fills."""
SAME = 0.9
"""IoU of an object's automatic mask with the one for its box."""
MOST = 8
"""Objects of one photo."""


def objects(engine: Engine, embedding: Embedding) -> list[NDArray[np.bool_]]:
    """Masks (height, width), the surest first."""
    found: list[NDArray[np.bool_]] = []
    for proposal in propose(engine, embedding, SETTINGS):
        share = proposal.pixels.mean()
        if not SMALLEST <= share <= LARGEST:
            continue
        box = np.array(boxes.of_mask(proposal.pixels), np.float32)
        prompt = Prompt(np.zeros((0, 2), np.float32), np.zeros(0, np.int8), box)
        (answer,) = engine.decode(embedding, [prompt], multimask=False)
        mask = upscale(answer.logits[0], answer.size)
        if masks.iou(mask, proposal.pixels) >= SAME:
            found.append(mask)
        if len(found) == MOST:
            break
    return found


def main() -> None:
    settings = Settings()
    engine = TorchEngine(load_model(verified_path(settings.weights_dir)))
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, path in enumerate(sorted(FOLDER.glob("*.jpg")), 1):
        image = decode(path.read_bytes(), max_pixels=settings.max_image_pixels)
        height, width = image.shape[:2]
        images.append({"id": number, "file_name": path.name, "height": height, "width": width})
        for mask in objects(engine, engine.encode([image])[0]):
            rle = coco_rle.encode(mask)
            left, top, right, bottom = map(float, boxes.of_mask(mask))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": int(mask.sum()),
                    "segmentation": {"size": [height, width], "counts": rle["counts"].decode()},
                }
            )
    categories = [{"id": 1, "name": "object"}]
    ANNOTATIONS.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}) + "\n")


if __name__ == "__main__":
    main()
