"""`maskloop serve` as people run it."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from label_studio_sdk.converter.brush import decode_rle
from redis import Redis

from labelstudio import discs
from labelstudio.workers import start_discs
from maskloop.cli import serve
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.labelstudio.ledger import Ledger
from maskloop.settings import Settings

__all__ = ["start_discs"]
Serve = Callable[..., Any]
CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="Object"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="Object"/></KeyPointLabels></View>"""


def body(uri: str, x: float, y: float, task: int = 1) -> dict[str, Any]:
    """A click at x, y in percent."""
    point = {
        "id": "p",
        "type": "keypointlabels",
        "from_name": "point",
        "to_name": "image",
        "value": {"x": x, "y": y, "width": 0.3, "keypointlabels": ["Object"]},
        "is_positive": True,
    }
    return {
        "tasks": [{"id": task, "data": {"image": uri}}],
        "project": "1.1",
        "label_config": CONFIG,
        "params": {"context": {"result": [point]}},
    }


def processes_of(serving: Any) -> list[psutil.Process]:
    return psutil.Process(serving.process.pid).children(recursive=True)


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ended(serving: Any) -> str:
    """What it wrote, once it has ended with an error."""
    assert serving.process.wait(60) == 1
    return str(serving.log.read_text())


def test_without_weights_it_says_how_to_get_them(maskloop_serve: Serve, tmp_path: Path) -> None:
    assert "maskloop weights fetch" in ended(maskloop_serve(wait=False, weights_dir=str(tmp_path)))


@pytest.mark.weights
def test_a_taken_port_is_named(maskloop_serve: Serve, official_weights: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}: Address already in use" in ended(maskloop_serve(wait=False, port=port))


@pytest.mark.weights
def test_a_redis_that_is_not_there_is_named(maskloop_serve: Serve, official_weights: Path, tmp_path: Path) -> None:
    assert "Start Redis" in ended(maskloop_serve("--redis-url", f"unix://{tmp_path}/none.sock", wait=False))


def test_a_bad_setting_is_named(maskloop_serve: Serve) -> None:
    assert "MASKLOOP_CLICK_DEADLINE" in ended(maskloop_serve(wait=False, click_deadline="soon"))


def test_a_server_alone_leaves_the_work_to_workers_elsewhere(
    maskloop_serve: Serve, redis: Redis, redis_server: str, until: Callable[..., None]
) -> None:
    """And says that there are none."""
    serving = maskloop_serve(
        wait=False, redis_url=redis_server, interactive_workers="0", batch_workers="0", weights_dir="/nowhere"
    )
    until(lambda: serving.health().get("redis") == "UP")
    assert serving.health()["status"] == "DOWN"
    answer = serving.client.post("/predict", json=body("data:image/png;base64,", 50, 50))
    assert answer.status_code == 503
    assert "maskloop worker --queue interactive" in answer.json()["error"]


def test_told_to_stop_in_a_batch_it_ends_and_keeps_what_is_ready(
    maskloop_serve: Serve, start_discs: Callable[..., Any], redis: Redis, redis_server: str, until: Callable[..., None]
) -> None:
    start_discs(go=1)
    serving = maskloop_serve(redis_url=redis_server, interactive_workers="0", batch_workers="0")
    tasks = [discs.task(number) for number in (1, 2)]
    batch = {"tasks": tasks, "project": "7.1", "label_config": discs.EVERYTHING, "params": {}}
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(serving.client.post, "/predict", json=batch)
        until(lambda: redis.llen("began") == 2)
        serving.process.terminate()
        assert asked.result().status_code == 503
    assert serving.process.wait(30) == 0
    assert "Traceback" not in serving.log.read_text()
    tally = Ledger(redis).tallies()[7]
    assert (tally.ready, tally.answered) == (1, 0)


def test_a_worker_elsewhere_needs_the_servers_data(
    maskloop_serve: Serve, redis: Redis, redis_server: str, until: Callable[..., None], tmp_path: Path
) -> None:
    """And says so to who starts it and to who waits for it; a server with other data is refused too."""
    nowhere = {"interactive_workers": "0", "batch_workers": "0", "weights_dir": "/nowhere"}
    serving = maskloop_serve(wait=False, redis_url=redis_server, **nowhere)
    until(lambda: serving.health().get("redis") == "UP")

    def start(data: Path) -> str:
        command = [*serve.MASKLOOP, "worker", "--queue", "batch", "--redis-url", redis_server, "--data-dir", str(data)]
        environment = {**os.environ, "MASKLOOP_WEIGHTS_DIR": "/nowhere"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stderr

    second = maskloop_serve(wait=False, redis_url=redis_server, data_dir=str(tmp_path / "other"), **nowhere)
    assert "Another maskloop uses this Redis" in start(tmp_path / "other")
    assert "Another maskloop uses this Redis" in str(overview(redis)[QueueName.BATCH].failure)
    assert "Another maskloop uses this Redis" in ended(second)
    assert "maskloop weights fetch" in start(tmp_path / "data")


@pytest.mark.weights
def test_a_click_gives_a_mask_and_all_of_it_ends_together(
    maskloop_serve: Serve, official_weights: Path, square: Callable[..., str], until: Callable[..., None]
) -> None:
    serving = maskloop_serve()
    health = serving.health()
    assert health["status"] == "UP"
    assert health["engine"].startswith("torch-cpu")
    assert health["problems"] == []
    answer = serving.client.post("/predict", json=body(square(), 30, 40))
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["results"]
    (region,) = prediction["result"]
    pixels = decode_rle(region["value"]["rle"]).reshape(200, 300, 4)[:, :, 3] > 0
    assert pixels[80, 90]
    assert not pixels[20, 250]
    assert prediction["model_version"] == health["model_version"]
    until(lambda: "is ready." in serving.log.read_text())
    assert serving.url in serving.log.read_text()

    processes = processes_of(serving)
    assert len(processes) >= 3
    serving.process.send_signal(signal.SIGINT)
    assert serving.process.wait(60) == 0
    assert not any(map(alive, processes))


@pytest.mark.weights
def test_a_killed_worker_and_redis_are_replaced_and_a_killed_server_leaves_no_process_behind(
    maskloop_serve: Serve, official_weights: Path, square: Callable[..., str], until: Callable[..., None]
) -> None:
    serving, click = maskloop_serve(batch_workers="0"), body(square(), 30, 40)
    for victim in ("worker", "redis-server"):
        children = psutil.Process(serving.process.pid).children()
        (process,) = (child for child in children if victim in (child.name(), *child.cmdline()))
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: serving.client.post("/predict", json=click).status_code == 200, timeout=90)
    processes = processes_of(serving)
    assert len(processes) >= 3
    serving.process.kill()
    until(lambda: not any(map(alive, processes)))


def test_a_second_server_on_the_same_data_is_refused(maskloop_serve: Serve, until: Callable[..., None]) -> None:
    without_workers = {"interactive_workers": "0", "batch_workers": "0"}
    first = maskloop_serve(wait=False, **without_workers)
    until(lambda: first.health().get("redis") == "UP", 60)
    assert "Another maskloop runs its Redis" in ended(maskloop_serve(wait=False, **without_workers))


@pytest.mark.parametrize(("cores", "expected"), [(8, (8, 8, 4, 4, 7)), (2, (2, 2, 1, 1, 1)), (1, (1, 1, 1, 1, 1))])
def test_each_click_may_use_all_cores_batches_share_them_and_training_leaves_one(
    monkeypatch: pytest.MonkeyPatch, cores: int, expected: tuple[int, ...]
) -> None:
    monkeypatch.setattr(serve, "available_threads", lambda: cores)
    settings = Settings(redis_url="redis://localhost:6379/0")
    workers = {QueueName.INTERACTIVE: 2, QueueName.BATCH: 2, QueueName.TRAIN: 1}
    *children, _ = serve.children(settings, workers)
    assert tuple(int(child.env["MASKLOOP_THREADS"]) for child in children) == expected


@pytest.mark.parametrize("files", [serve.FILES, 600])
def test_as_many_connections_are_taken_as_the_system_lets_within_reason(
    files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "FILES", files)
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, most), most))
    serve.allow_many_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(files, most), most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


@pytest.mark.parametrize(("status", "said"), [(200, ""), (401, " can't be used: ")])
def test_the_banner_says_whether_label_studio_takes_the_token(status: int, said: str) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        told = serve.label_studio(Settings(label_studio_url=url, label_studio_api_key="0" * 40))
        server.shutdown()
    assert told.startswith(url + said)
    assert ("token" in told) == bool(said)
