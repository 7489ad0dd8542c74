"""Label Studio's webhooks get the header that lets them in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from maskloop.labelstudio.api import LabelStudioApi
from maskloop.server.webhooks import Place, Webhooks, leads_to

HERE = Place(7, "maskloop:9090")


class LabelStudio(httpx.MockTransport):
    """The webhooks of its projects."""

    def __init__(self, *hooks: dict[str, Any]) -> None:
        super().__init__(self.answer)
        self.hooks = {hook["id"]: hook for hook in hooks}
        self.down = False

    def answer(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            return httpx.Response(503)
        if request.url.path.startswith("/api/token"):
            return httpx.Response(200, json={"access": "a.b.c"})
        if request.method == "PATCH":
            hook = self.hooks[int(request.url.path.split("/")[-2])]
            hook.update(json.loads(request.content))
            return httpx.Response(200, json=hook)
        project = int(request.url.params["project"])
        return httpx.Response(200, json=[hook for hook in self.hooks.values() if hook["project"] == project])


def hook(number: int, url: str, project: int = 7, **headers: str) -> dict[str, Any]:
    return {"id": number, "project": project, "url": url, "headers": headers}


def keeper(label_studio: LabelStudio) -> Webhooks:
    return Webhooks(LabelStudioApi("http://label.studio", SecretStr("0" * 40), transport=label_studio), "t0ken")


def test_ours_get_the_header_and_keep_their_others() -> None:
    label_studio = LabelStudio(
        hook(1, "http://maskloop:9090/webhook", **{"X-Trace": "on"}),
        hook(2, "http://elsewhere:9090/webhook"),
        hook(3, "http://maskloop:9090/webhook", project=8),
    )
    assert keeper(label_studio).secure(HERE)
    assert label_studio.hooks[1]["headers"] == {"X-Trace": "on", "X-Maskloop-Token": "t0ken"}
    assert label_studio.hooks[2]["headers"] == {}
    assert label_studio.hooks[3]["headers"] == {}


def test_one_that_is_not_there_yet_is_waited_for() -> None:
    label_studio = LabelStudio()
    webhooks = keeper(label_studio)
    assert not webhooks.secure(HERE)
    label_studio.hooks[1] = hook(1, "http://maskloop:9090/webhook")
    assert webhooks.secure(HERE)


def test_a_webhook_to_another_host_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    label_studio = LabelStudio(hook(1, "https://user:secret@maskloop.example.org/webhook"), hook(2, "http://b/other"))
    webhooks = keeper(label_studio)
    assert not webhooks.secure(HERE)
    assert not webhooks.secure(HERE)
    (told,) = [record.message for record in caplog.records if record.name == "maskloop.webhooks"]
    assert "a webhook to maskloop.example.org and none to maskloop:9090" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://maskloop:80/webhook", "maskloop"),
        ("https://maskloop/webhook", "maskloop:443"),
        ("http://[::1]:9090/webhook", "[::1]:9090"),
    ],
)
def test_the_port_of_the_scheme_may_be_left_out(url: str, host: str) -> None:
    assert leads_to(url, host)
    assert not leads_to(url, f"{host}0")
    assert not leads_to(url, "")


def test_a_label_studio_that_can_not_be_asked_is_told_once_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    label_studio = LabelStudio(hook(1, "http://maskloop:9090/webhook"))
    label_studio.down = True
    webhooks = keeper(label_studio)
    assert not webhooks.secure(HERE)
    assert not webhooks.secure(HERE)
    assert caplog.text.count("feedback is refused") == 1
    label_studio.down = False
    assert webhooks.secure(HERE)


def test_it_goes_on_in_the_background(until: Callable[..., None]) -> None:
    label_studio = LabelStudio(hook(1, "http://maskloop:9090/webhook"))
    webhooks, stop = keeper(label_studio), threading.Event()
    thread = threading.Thread(target=webhooks.run, args=(stop,))
    thread.start()
    webhooks.expect(HERE)
    until(lambda: label_studio.hooks[1]["headers"] == {"X-Maskloop-Token": "t0ken"})
    stop.set()
    thread.join()


@pytest.mark.parametrize(
    ("url", "ours"),
    [
        ("http://maskloop:9090/webhook", True),
        ("https://MASKLOOP:9090/behind/a/proxy/webhook", True),
        ("http://user:password@maskloop:9090/webhook", True),
        ("http://maskloop:9091/webhook", False),
        ("http://maskloop:9090/other", False),
        ("http://maskloop:9090.evil.org/webhook", False),
        ("http://evil.org/?http://maskloop:9090/webhook", False),
        ("nonsense", False),
    ],
)
def test_ours_are_told_by_host_port_and_path(url: str, ours: bool) -> None:
    assert leads_to(url, HERE.host) is ours


def test_a_setup_tells_the_project_and_the_address(
    serve: Callable[..., httpx.Client], until: Callable[..., None]
) -> None:
    label_studio = LabelStudio()
    webhooks = keeper(label_studio)
    client = serve(webhooks=webhooks)
    host = client.base_url.netloc.decode()
    label_studio.hooks[1] = hook(1, f"http://{host}/webhook")
    assert client.post("/setup", json={"project": "7.1700000000", "schema": "<View/>"}).status_code == 200
    assert client.post("/setup", json={"project": None, "schema": "<View/>"}).status_code == 200
    stop = threading.Event()
    thread = threading.Thread(target=webhooks.run, args=(stop,))
    thread.start()
    until(lambda: label_studio.hooks[1]["headers"] == {"X-Maskloop-Token": "t0ken"})
    stop.set()
    thread.join()
