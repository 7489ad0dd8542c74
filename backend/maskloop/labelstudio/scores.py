"""A prediction's scores as chances that a person accepts the masks."""

from __future__ import annotations

from typing import Any

from maskloop.labelstudio.handlers import prediction
from maskloop.learning.calibration import Calibration
from maskloop.learning.regions import PREDICTED_IOU

Json = dict[str, Any]


def as_chances(made: Json, calibration: Calibration) -> Json:
    """The prediction with each region's score turned into a chance, and their mean as its own.

    What the model said stays in ``predicted_iou``: to that the next calibration is fitted.
    """
    if calibration.kind == "none":
        return made
    result = [_as_chance(region, calibration) for region in made["result"]]
    return {**made, **prediction(result, made["model_version"])}


def _as_chance(region: Json, calibration: Calibration) -> Json:
    if "score" not in region:
        return region
    chance = round(float(calibration(region["score"])), 4)
    return {**region, "score": chance, PREDICTED_IOU: region["score"]}
