"""What `maskloop annotate --format labelstudio` writes is imported by a real Label Studio as predictions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from label_studio_sdk.converter import brush
from PIL import Image

from maskloop.demo.label_studio import LabelStudio

pytestmark = [pytest.mark.e2e]
STUB = Path(__file__).parents[1] / "annotate" / "stub_app.py"


def test_tasks_with_predictions_are_imported_as_they_are(tmp_path: Path, label_studio: LabelStudio) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(3):
        Image.new("RGB", (200, 100)).save(tmp_path / "photos" / f"ä {number}.png")
    command = ["photos", "--out", "out", "--format", "labelstudio", "--label", "Thing", "--local-files-root", "."]
    environment = {**os.environ, "MASKLOOP_DATA_DIR": str(tmp_path / "data")}
    subprocess.run(
        [sys.executable, STUB, *command, "--points-per-side", "2"], cwd=tmp_path, env=environment, check=True
    )

    project = label_studio.create_project("annotated", (tmp_path / "out" / "tasks.config.xml").read_text())
    label_studio.upload(project, [("tasks.json", (tmp_path / "out" / "tasks.json").read_bytes())])

    tasks = label_studio.tasks(project)
    label_studio.delete_project(project)
    assert [task["data"]["image"] for task in tasks] == [
        f"/data/local-files/?d=photos/%C3%A4%20{number}.png" for number in range(3)
    ]
    for task in tasks:
        [prediction] = task["predictions"]
        assert prediction["score"] == pytest.approx(0.95)
        assert prediction["model_version"] == "stub-1"
        assert len(prediction["result"]) == 4
        for region in prediction["result"]:
            assert region["value"]["brushlabels"] == ["Thing"]
            pixels = brush.decode_rle(region["value"]["rle"]).reshape(100, 200, 4)[..., 3]
            assert 0 < np.count_nonzero(pixels) < 20_000
