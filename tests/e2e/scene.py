"""What the end-to-end tests share: a labeling configuration, a photo, prompts on it, and what runs."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import skimage
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from maskloop.demo.label_studio import LabelStudio
from maskloop.geometry import label_studio_rle
from maskloop.learning.registry import Registry
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Annotation
from maskloop.learning.versions import registry_of
from maskloop.settings import Settings

JSON = dict[str, Any]
Mask = NDArray[np.bool_]

MESSAGES = (
    '<Text name="notice" value=""/>'
    '<TextArea name="message" toName="notice" maskloop_messages="true" editable="false" maxSubmissions="1"/>'
)
LABELS = '<Label value="Cat" background="#e05c00"/><Label value="Cup" background="#00c8ff"/>'
CONFIG = f"""
<View>
  {MESSAGES}
  <BrushLabels name="brush" toName="image">{LABELS}</BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true">{LABELS}</KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true">{LABELS}</RectangleLabels>
  <Image name="image" value="$image"/>
</View>
"""
POINT_LABELS = 1
"""Number of the smart key points' list of labels, from 0."""
CHEAP = {"automatic": {"points_per_side": 4}}
"""Pre-annotation that costs little: what it finds is tested elsewhere."""

Point = tuple[float, float]
"""x and y, fractions of the image."""
HEIGHT, WIDTH = 400, 600
"""Of coffee.png."""
COFFEE: Point = (0.48, 0.36)
SAUCER: Point = (0.27, 0.62)
SPOON: Point = (0.58, 0.75)
TABLE: Point = (0.97, 0.6)
COFFEE_BOX = (35.0, 25.0, 26.0, 22.0)
CUP_BOX = (27.0, 2.0, 43.0, 68.0)
"""x, y, width, height, percent."""


def photo_file(name: str) -> Path:
    """A photo that scikit-image carries."""
    return Path(skimage.__file__).parent / "data" / name


def click(at: Point, *, positive: bool = True, label: str = "Cup") -> JSON:
    """As the editor sends it."""
    geometry = {"x": 100 * at[0], "y": 100 * at[1], "width": 0.3}
    return {**_prompt("point", "keypointlabels", label, geometry), "is_positive": positive}


def rectangle(x: float, y: float, width: float, height: float, label: str = "Cup") -> JSON:
    geometry = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    return _prompt("box", "rectanglelabels", label, geometry)


def _prompt(control: str, kind: str, label: str, geometry: JSON) -> JSON:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    value = {**geometry, kind: [label]}
    return {"id": secrets.token_hex(5), "from_name": control, "to_name": "image", "type": kind, "value": value, **size}


def brush_region(result: list[JSON]) -> JSON:
    [region] = [region for region in result if region["type"] == "brushlabels"]
    return region


def brush_mask(result: list[JSON]) -> Mask:
    return label_studio_rle.decode(brush_region(result)["value"]["rle"], HEIGHT, WIDTH)


def holds(mask: Mask, point: Point) -> bool:
    return bool(mask[int(point[1] * HEIGHT), int(point[0] * WIDTH)])


@dataclass(frozen=True)
class Login:
    """A user of Label Studio, with both kinds of token."""

    email: str = "annotator@example.com"
    password: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    legacy_token: str = field(default_factory=lambda: secrets.token_hex(20))


@dataclass(frozen=True)
class Server:
    """A running `maskloop serve`."""

    url: str
    data: Path
    client: httpx.Client = field(default_factory=httpx.Client)

    def undelivered(self, project: int) -> int:
        """Predictions that are still to be made or brought to Label Studio."""
        tally = self.client.get(f"{self.url}/health").json()["batches"]["projects"][str(project)]
        return int(tally["waiting"] + tally["ready"])

    def jobs_done(self, kind: str) -> float:
        """By the workers that live."""
        families = text_string_to_metric_families(self.client.get(f"{self.url}/metrics").text)
        samples = [sample for family in families for sample in family.samples if sample.name == "maskloop_jobs_total"]
        return sum(one.value for one in samples if one.labels["kind"] == kind and one.labels["outcome"] == "ok")

    def registry(self) -> Registry:
        return registry_of(Settings(data_dir=self.data))

    def maskloop(self, label_studio: LabelStudio, token: str, *command: str) -> str:
        """What a command of ``maskloop``, run beside the server, says."""
        more = {"DATA_DIR": str(self.data), "LABEL_STUDIO_URL": label_studio.url, "LABEL_STUDIO_API_KEY": token}
        environment = {**os.environ, **{f"MASKLOOP_{name}": value for name, value in more.items()}}
        program = [sys.executable, "-m", "maskloop.cli.main", *command]
        return subprocess.run(program, env=environment, check=True, capture_output=True, text=True).stdout

    def annotation(self, annotation: int) -> Annotation | None:
        """What the feedback store has of it."""
        with FeedbackStore.open(self.data).session() as session:
            return session.get(Annotation, annotation)


@dataclass(frozen=True)
class Project:
    """A connected project. ``connection`` is Label Studio's number for the backend, ``version`` the model's."""

    label_studio: LabelStudio
    id: int
    connection: int
    version: str

    def tasks(self) -> list[JSON]:
        return self.label_studio.tasks(self.id)

    def interact(self, task: int, *prompts: JSON) -> JSON:
        return self.label_studio.interact(self.connection, task, prompts)

    def retrieve_predictions(self) -> None:
        self.label_studio.retrieve_predictions(self.id, [task["id"] for task in self.tasks()])
