"""A segmenter that finds a disc around each point and an ellipse in each box, without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from maskloop.errors import ImageUnavailable, ImageUnreadable
from maskloop.inference.refinement import Refinement
from maskloop.sam.automatic import AutomaticSettings
from maskloop.sam.picking import Picker
from maskloop.sam.proposals import Proposals
from maskloop.sam.values import LOGITS_SIDE, Embedding, Image, ImageSize, Mask, MaskLogits, Prompt

EVERYTHING = """<View>
  <BrushLabels name="brush" toName="image"><Label value="Dog"/><Label value="Cat"/></BrushLabels>
  <RectangleLabels name="box" toName="image"><Label value="Dog"/><Label value="Cat"/></RectangleLabels>
  <PolygonLabels name="outline" toName="image"><Label value="Dog"/></PolygonLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="Dog"/><Label value="Cat"/></KeyPointLabels>
  <RectangleLabels name="smartbox" toName="image" smart="true">
    <Label value="Dog"/><Label value="Cat"/><Label value="Bird"/>
  </RectangleLabels>
  <Image name="image" value="$image"/>
</View>"""
WIDTH, HEIGHT = 400, 300
RADIUS = 30.0
"""Of what a click finds, pixels."""
PHOTO = "/data/upload/1/photo.jpg"
MISSING = "/data/upload/1/missing.jpg"
DAMAGED = "/data/upload/1/damaged.jpg"
EMPTY = "/data/upload/1/empty.jpg"


@cache
def disc(x: float, y: float, radius: float = RADIUS) -> np.ndarray:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    mask = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    mask.setflags(write=False)
    return mask


@dataclass
class DiscDecoder:
    """Remembers what it was asked; ``shift`` moves every answer's score."""

    asked: list[tuple[Prompt, bool]] = field(default_factory=list)

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        self.asked += [(prompt, multimask) for prompt in prompts]
        return [self._answer(embedding.size, prompt, 3 if multimask else 1) for prompt in prompts]

    def _answer(self, size: ImageSize, prompt: Prompt, count: int) -> MaskLogits:
        step = max(size) / LOGITS_SIDE
        rows, columns = (np.mgrid[:LOGITS_SIDE, :LOGITS_SIDE] + 0.5) * step
        logits = np.full((LOGITS_SIDE, LOGITS_SIDE), -5.0, np.float32)
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            across, down = (2 * columns - x0 - x1) / (x1 - x0), (2 * rows - y0 - y1) / (y1 - y0)
            logits = 1 - across**2 - down**2
        for (x, y), positive in zip(prompt.points, prompt.labels, strict=True):
            inside = RADIUS - np.hypot(columns - x, rows - y)
            logits = np.maximum(logits, inside) if positive else np.minimum(logits, -inside)
        masks = [logits + shift for shift in (0.0, -5.0, -10.0)[:count]]
        return MaskLogits(np.stack(masks).astype(np.float32), np.array([0.9, 0.5, 0.3][:count], np.float32), size)


@dataclass
class DiscSegmenter:
    """Every image is 400 x 300 and has three discs, except those that are missing or empty."""

    engine: DiscDecoder = field(default_factory=DiscDecoder)
    references: list[str] = field(default_factory=list)
    settings: list[AutomaticSettings] = field(default_factory=list)
    proposed: dict[tuple[str, AutomaticSettings], Picker] = field(default_factory=dict)

    def embedding(self, reference: str) -> Embedding:
        self._load(reference)
        return Embedding(np.zeros((256, 64, 64), np.float16), ImageSize(HEIGHT, WIDTH))

    def refine(self, reference: str, objects: Callable[[ImageSize], Sequence[Sequence[Prompt]]]) -> list[MaskLogits]:
        embedding = self.embedding(reference)
        return [Refinement().answer(self.engine, embedding, reference, steps) for steps in objects(embedding.size)]

    def prefetch(self, reference: str) -> bool:
        self._load(reference)
        return True

    def everything(self, reference: str, settings: AutomaticSettings) -> list[Mask]:
        self._load(reference)
        self.settings.append(settings)
        discs = [] if reference == EMPTY else [disc(80 * number, 100) for number in (1, 2, 3)]
        found = [Mask(pixels, 1.0 - number / 10) for number, pixels in enumerate(discs, 1)]
        self.proposed[reference, settings] = Picker(Proposals.of(found, ImageSize(HEIGHT, WIDTH)))
        return found

    def image(self, reference: str) -> Image:
        self._load(reference)
        return np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def picker(self, reference: str, settings: AutomaticSettings) -> Picker | None:
        return self.proposed.get((reference, settings))

    def _load(self, reference: str) -> None:
        self.references.append(reference)
        if reference == MISSING:
            raise ImageUnavailable(f"There is no image at http://label.example{reference} (404).", "Look for it.")
        if reference == DAMAGED:
            raise ImageUnreadable("It is no image.")


def task(number: int = 1, image: str = PHOTO) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "project": 7}


def point(x: float, y: float, *, positive: bool | None = True, label: str = "Dog", **more: Any) -> dict[str, Any]:
    """A smart key point as the editor sends it; x, y in percent."""
    value = {"x": x, "y": y, "width": 0.3, **({"keypointlabels": [label]} if label else {})}
    prompt = {"id": f"p{x:g},{y:g}", "from_name": "point", "to_name": "image", "type": "keypointlabels"}
    return {**prompt, "value": value, "is_positive": positive, "original_width": 1, "original_height": 1, **more}


def box(x: float, y: float, width: float, height: float, rotation: float = 0, label: str = "Dog", **more: Any) -> dict:
    """A smart rectangle as the editor sends it, in percent."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": [label]}
    prompt = {"id": f"b{x:g},{y:g}", "from_name": "smartbox", "to_name": "image", "type": "rectanglelabels"}
    return {**prompt, "value": value, **more}
