"""People see the chance that they accept a mask; what the model said is kept."""

from typing import Any

import pytest

from maskloop.labelstudio.scores import as_chances
from maskloop.learning.calibration import Calibration

HALVED = Calibration(kind="logistic", scores=(0.0, 1.0), chances=(0.0, 0.5))
MADE: dict[str, Any] = {
    "result": [{"id": "a", "score": 0.9}, {"id": "b", "score": 0.5}, {"id": "text"}],
    "score": 0.7,
    "model_version": "v1",
}


def test_scores_become_chances() -> None:
    assert as_chances(MADE, HALVED) == {
        "result": [
            {"id": "a", "score": 0.45, "predicted_iou": 0.9},
            {"id": "b", "score": 0.25, "predicted_iou": 0.5},
            {"id": "text"},
        ],
        "score": pytest.approx(0.35),
        "model_version": "v1",
    }


def test_without_a_calibration_nothing_changes() -> None:
    assert as_chances(MADE, Calibration()) == MADE


def test_the_rest_of_an_answer_stays() -> None:
    assert as_chances({**MADE, "unproposed": True}, HALVED)["unproposed"]
