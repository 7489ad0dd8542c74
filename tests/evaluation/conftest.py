"""A dataset of drawn shapes and a network that sees them: what a click or a box means is known exactly."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage
from pycocotools import mask as coco_mask

from maskloop.sam.preprocess import resized
from maskloop.sam.values import Embedding, Image, ImageSize, MaskLogits, Prompt

SIZE = ImageSize(96, 128)
SQUARE = (10, 8, 50, 48)
WIDE = (60, 60, 120, 90)


def drawn(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


class Shapes:
    """Three candidates for a click: the shape under it, its left half, and nothing; the best score is that of
    ``favourite``. The single mask is the shape."""

    def __init__(self, favourite: int = 0) -> None:
        self.favourite = favourite

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        return [Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(*image.shape[:2])) for image in images]

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        answers = []
        for prompt in prompts:
            x, y = prompt.points[0] if prompt.box is None else (prompt.box[:2] + prompt.box[2:]) / 2
            x0, y0, x1, y1 = next((s for s in (SQUARE, WIDE) if s[0] <= x < s[2] and s[1] <= y < s[3]), (0, 0, 0, 0))
            shapes = [drawn(x0, y0, x1, y1), drawn(x0, y0, (x0 + x1) // 2, y1), drawn(0, 0, 0, 0)]
            scores = np.full(3, 0.5, np.float32)
            scores[self.favourite] = 0.9
            count = 3 if multimask else 1
            answers.append(
                MaskLogits(np.stack([logits_of(shape) for shape in shapes[:count]]), scores[:count], embedding.size)
            )
        return answers


def logits_of(mask: np.ndarray) -> np.ndarray:
    """Logits +-8 whose mask is this one, but for pixels at its edges."""
    height, width = resized(ImageSize(*mask.shape))
    square = np.zeros((1024, 1024), np.float32)
    square[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height))
    return cv2.resize(square, (256, 256), interpolation=cv2.INTER_AREA) * 16 - 8


@pytest.fixture
def shapes() -> Callable[[int], Shapes]:
    return Shapes


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Writes one photo, ``a.png``, with the square as a polygon, the wide one as run lengths, and what is left out: a
    small one and a crowd; ``change`` edits the document. Gives the folder and the file."""

    def write(change: Callable[[dict], None] = lambda document: None) -> tuple[Path, Path]:
        images = tmp_path / "images"
        images.mkdir()
        PillowImage.new("L", (SIZE.width, SIZE.height), 90).save(images / "a.png")
        x0, y0, x1, y1 = SQUARE
        wide = coco_mask.encode(np.asfortranarray(drawn(*WIDE), np.uint8))
        shapes = [
            ([[x0, y0, x1, y0, x1, y1, x0, y1]], [x0, y0, x1 - x0, y1 - y0], 0),
            ({"size": list(SIZE), "counts": wide["counts"].decode()}, [60, 60, 60, 30], 0),
            ([[0, 0, 9, 0, 9, 9, 0, 9]], [0, 0, 9, 9], 0),
            ({"size": list(SIZE), "counts": [0, SIZE.height * SIZE.width]}, [0, 0, 128, 96], 1),
        ]
        document = {
            "images": [{"id": 7, "file_name": "a.png", "height": SIZE.height, "width": SIZE.width}],
            "categories": [{"id": 1, "name": "shape"}],
            "annotations": [
                {"id": n, "image_id": 7, "category_id": 1, "segmentation": s, "bbox": b, "iscrowd": c, "area": 1}
                for n, (s, b, c) in enumerate(shapes)
            ],
        }
        change(document)
        annotations = tmp_path / "instances.json"
        annotations.write_text(json.dumps(document))
        return images, annotations

    return write
