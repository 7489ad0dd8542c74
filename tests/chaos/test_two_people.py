"""Two people click on two different images at the same moment, through HTTP, Redis and real workers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.converter.brush import decode_rle

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="Object"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="Object"/></KeyPointLabels></View>"""
CLICKS = 200


@pytest.mark.weights
@pytest.mark.parametrize(
    "served",
    [{"interactive_workers": "1"}, {"interactive_workers": "2"}, {"clicks_at_once": "2", "engine": "torch-cpu"}],
    ids=["by one worker", "by two workers", "by one worker, decoded together"],
)
def test_nobody_gets_the_others_mask(
    maskloop_serve: Callable[..., Any], official_weights: Path, square: Callable[..., str], served: dict[str, str]
) -> None:
    """Both images hold an object where both click, but not the same one: one is left of it, the other right."""
    serving = maskloop_serve(**served, batch_workers="0")
    photos = {"Ann": square(left=60, top=60, side=80), "Bob": square(left=110, top=60, side=80)}

    def click(person: str, number: int) -> tuple[str, float]:
        """Whose object the mask covers, and how much of it."""
        task = 1 if person == "Ann" else 2
        answer = serving.client.post("/predict", json=body(photos[person], task, number))
        assert answer.status_code == 200, answer.text
        (region,) = answer.json()["results"][0]["result"]
        mask = decode_rle(region["value"]["rle"]).reshape(200, 300, 4)[:, :, 3] > 0
        return person, iou(mask, 60 if person == "Ann" else 110)

    with ThreadPoolExecutor(2) as pool:
        for number in range(CLICKS):
            for person, overlap in pool.map(click, photos, [number, number]):
                assert overlap > 0.8, f"{person}'s click {number}: IoU {overlap:.2f}"


def iou(mask: np.ndarray, left: int) -> float:
    wanted = np.zeros_like(mask)
    wanted[60:140, left : left + 80] = True
    return float((mask & wanted).sum() / (mask | wanted).sum())


def body(uri: str, task: int, number: int) -> dict[str, Any]:
    """A click near the middle of the image, each a little elsewhere."""
    point = {
        "id": f"p{number}",
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "value": {"x": 41 + number % 4, "y": 45 + number % 7, "width": 0.3, "keypointlabels": ["Object"]},
        "is_positive": True,
    }
    return {
        "tasks": [{"id": task, "data": {"image": uri}}],
        "project": "1.1",
        "label_config": CONFIG,
        "params": {"context": {"result": [point]}},
    }
