"""A click that nobody waits for: done once at a worker's start, it makes what the first real one would wait for."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw

from maskloop.labelstudio.handlers import payload_of
from maskloop.labelstudio.options import Options
from maskloop.labelstudio.wire import Context, Task

Json = dict[str, Any]
WIDTH, HEIGHT = 640, 480
DISC = (220, 140, 420, 340)
"""Left, top, right, bottom, in pixels."""
CENTRE = (50, 50)
"""Of the disc, in percent."""
LABEL_CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="Disc"/></BrushLabels>
  <RectangleLabels name="box" toName="image"><Label value="Disc"/></RectangleLabels>
  <PolygonLabels name="outline" toName="image"><Label value="Disc"/></PolygonLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="Disc"/></KeyPointLabels>
</View>"""


def rehearsal(version: str) -> Json:
    """What ``handlers.click`` takes: a click on the disc of a picture that stands in the task itself."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "darkgreen")
    ImageDraw.Draw(picture).ellipse(DISC, fill="orange")
    png = BytesIO()
    picture.save(png, "PNG")
    x, y = CENTRE
    point = {
        "id": "rehearsal",
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Disc"]},
        "is_positive": True,
    }
    task = Task(data={"image": f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}"})
    return payload_of(None, task, LABEL_CONFIG, Options(), version, Context.read({"result": [point]}))
