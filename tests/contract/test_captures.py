"""What a running Label Studio 1.23.2 sent, sent again: through the server, the queue and workers."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from redis import Redis

from labelstudio.discs import HEIGHT, WIDTH, disc
from labelstudio.serving import Serving
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.geometry import label_studio_rle, masks
from maskloop.labelstudio.service import Backend, Patience
from maskloop.learning.store import FeedbackStore
from maskloop.server.app import create_app
from maskloop.server.auth import Guard
from maskloop.settings import Settings

CAPTURES = Path(__file__).parent / "captures"
WEBHOOKS = sorted((Path(__file__).parents[1] / "learning" / "captures").glob("webhook_*.json"))
VERSION = "mobile_sam-6dbb9052"
SIDES = ("x", "y", "width", "height")
LABELS = {"brush": "brushlabels", "bbox": "rectanglelabels", "smartbox": "rectanglelabels"}


def capture(name: str) -> dict[str, Any]:
    return dict(json.loads((CAPTURES / f"{name}.json").read_text()))


@pytest.fixture
def client(dispatcher: Dispatcher, redis: Redis, tmp_path: Path, until: Callable[..., None]) -> Iterator[httpx.Client]:
    versions = Serving(VERSION)
    backend = Backend(
        dispatcher,
        redis,
        versions,
        patience=Patience(click=20, batch=20),
        delivers=False,
        feedback=FeedbackStore.open(tmp_path),
    )
    app = create_app(backend, lambda: overview(redis), Guard.from_settings(Settings()), versions.answering)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    until(lambda: server.started)
    with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
        yield client
    server.should_exit = True
    thread.join()
    backend.close()


@pytest.fixture
def send(client: httpx.Client) -> Callable[[dict[str, Any]], httpx.Response]:
    def send(captured: dict[str, Any]) -> httpx.Response:
        return client.request(captured["method"], captured["path"], json=captured["body"], headers=captured["headers"])

    return send


Send = Callable[[dict[str, Any]], httpx.Response]


def check(prediction: dict[str, Any]) -> None:
    """That it is what Label Studio stores and its editor shows."""
    assert prediction["model_version"] == VERSION
    assert isinstance(prediction["score"], float)
    for region in prediction["result"]:
        assert region["type"] == LABELS[region["from_name"]]
        assert region["to_name"] == "image"
        assert (region["original_width"], region["original_height"], region["image_rotation"]) == (WIDTH, HEIGHT, 0)
        assert 0 <= region["score"] <= 1
        assert isinstance(region["value"][region["type"]], list)
    ids = [region["id"] for region in prediction["result"]]
    assert len(set(ids)) == len(ids)


def brush_of(prediction: dict[str, Any]) -> Any:
    (brush,) = [region for region in prediction["result"] if region["from_name"] == "brush"]
    return label_studio_rle.decode(brush["value"]["rle"], HEIGHT, WIDTH)


def test_setup_takes_an_object_of_extra_params_and_tells_the_version(send: Send) -> None:
    captured = capture("setup")
    assert captured["body"]["extra_params"] == {"a": 1}
    answer = send(captured)
    assert (answer.status_code, answer.json()) == (200, {"model_version": VERSION})
    captured["body"]["extra_params"] = None
    assert send(captured).json() == {"model_version": VERSION}


def test_versions(send: Send) -> None:
    assert send(capture("versions")).json() == {"versions": [VERSION]}


def test_health_is_up_once_a_worker_is_there(client: httpx.Client, start_discs: Any, until: Any, send: Send) -> None:
    assert send(capture("health")).status_code == 503
    start_discs(queue=QueueName.INTERACTIVE)
    until(lambda: send(capture("health")).status_code == 200)


@pytest.mark.parametrize(("name", "count"), [("predict_one_task", 1), ("predict_batch_two_tasks", 2)])
def test_tasks_are_answered_one_by_one_in_their_order(send: Send, start_discs: Any, name: str, count: int) -> None:
    start_discs(go=count)
    results = send(capture(name)).json()["results"]
    assert len(results) == count
    for prediction in results:
        check(prediction)
        assert {region["from_name"] for region in prediction["result"]} == {"brush", "bbox"}


def test_a_key_point_is_answered_by_a_mask_with_its_label(send: Send, start_discs: Any) -> None:
    start_discs(queue=QueueName.INTERACTIVE)
    captured = capture("predict_interactive_keypoint")
    (prediction,) = send(captured).json()["results"]
    check(prediction)
    prompts = captured["body"]["params"]["context"]["result"]
    value = prompts[-1]["value"]
    for region in prediction["result"]:
        assert region["value"][region["type"]] == value["keypointlabels"]
    for prompt in prompts:
        x, y = prompt["value"]["x"] / 100 * WIDTH, prompt["value"]["y"] / 100 * HEIGHT
        assert brush_of(prediction)[int(y), int(x)] == prompt["is_positive"]


def test_three_key_points_are_one_object_with_what_is_negative_left_out(send: Send, start_discs: Any) -> None:
    start_discs(queue=QueueName.INTERACTIVE)
    captured = capture("predict_interactive_three_keypoints")
    (prediction,) = send(captured).json()["results"]
    check(prediction)
    points = [prompt["value"] for prompt in captured["body"]["params"]["context"]["result"]]
    first, second, negative = (disc(point["x"] / 100 * WIDTH, point["y"] / 100 * HEIGHT) for point in points)
    assert masks.iou(brush_of(prediction), (first | second) & ~negative) > 0.9


def test_a_rectangle_is_answered_by_what_is_in_it(send: Send, start_discs: Any) -> None:
    start_discs(queue=QueueName.INTERACTIVE)
    captured = capture("predict_interactive_rectangle")
    (prediction,) = send(captured).json()["results"]
    check(prediction)
    (brush,) = prediction["result"]
    assert brush["value"]["brushlabels"] == ["Cat"]
    drawn = captured["body"]["params"]["context"]["result"][0]["value"]
    rows, columns = brush_of(prediction).nonzero()
    found = [columns.min() / WIDTH, rows.min() / HEIGHT, columns.max() / WIDTH, rows.max() / HEIGHT]
    expected = [drawn["x"], drawn["y"], drawn["x"] + drawn["width"], drawn["y"] + drawn["height"]]
    assert [100 * side for side in found] == pytest.approx(expected, abs=2)


def test_a_second_object_of_a_label_is_answered_alone(send: Send, start_discs: Any) -> None:
    """The first one's box was accepted, and comes along."""
    start_discs(queue=QueueName.INTERACTIVE)
    captured = capture("predict_interactive_rectangle")
    captured["body"]["label_config"] = capture("predict_interactive_keypoint")["body"]["label_config"]
    prompts = captured["body"]["params"]["context"]["result"]
    (drawn,) = prompts
    value = {**drawn["value"], "x": 60.0, "y": 10.0}
    prompts.insert(0, {**drawn, "id": "cdea062c5c", "from_name": "bbox", "value": value, "score": 0.943})
    (prediction,) = send(captured).json()["results"]
    check(prediction)
    (found,) = [region["value"] for region in prediction["result"] if region["from_name"] == "bbox"]
    assert [found[side] for side in SIDES] == pytest.approx([drawn["value"][side] for side in SIDES], abs=2)


@pytest.mark.parametrize("path", WEBHOOKS, ids=lambda path: path.stem)
def test_every_webhook_is_kept(send: Send, tmp_path: Path, path: Path) -> None:
    answer = send(json.loads(path.read_text()))
    if path.stem == "webhook_start_training":  # no train worker runs here, and Label Studio is to know it
        assert answer.status_code == 503
        assert "train" in answer.json()["error"]
    else:
        assert answer.status_code in (200, 201)
    assert len(list((tmp_path / "spool").iterdir())) == 1
