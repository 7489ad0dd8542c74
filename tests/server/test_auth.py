"""Who is let in."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from maskloop.server.auth import Guard
from maskloop.settings import Settings

Serve = Callable[..., httpx.Client]
RIGHT = ("maskloop", "pässword: with a colon")
ROUTES = [
    ("POST", "/setup"),
    ("POST", "/predict"),
    ("GET", "/versions"),
    ("GET", "/reviews/tasks"),
    ("GET", "/metrics"),
    ("GET", "/"),
    ("POST", "/reviews"),
]


def header(user: str, password: str, encoding: str = "utf-8") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode(encoding)).decode()}


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_without_credentials_in_the_settings_all_are_let_in(serve: Serve, method: str, route: str) -> None:
    assert serve().request(method, route, content="{}").is_success


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_with_them_only_those_who_have_them(serve: Serve, backend: Any, method: str, route: str) -> None:
    client = serve(*RIGHT)
    for encoding in ("utf-8", "latin-1"):  # Label Studio sends the latter
        assert client.request(method, route, content="{}", headers=header(*RIGHT, encoding)).is_success
    asked = len(backend.asked)
    for wrong in (
        {},
        header("maskloop", "wrong"),
        header("", ""),
        header("other", RIGHT[1]),
        {"Authorization": "Basic not-base64!"},
        {"Authorization": "Basic /////w=="},
        {"Authorization": b"Basic \xff\xfe"},
        {"Authorization": "Bearer abc"},
        {"X-Maskloop-Token": Guard(*RIGHT).webhook_token},
    ):
        answer = client.request(method, route, content="{}", headers=wrong)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Basic"
    assert len(backend.asked) == asked


def test_health_is_open_but_tells_strangers_nothing_more(serve: Serve) -> None:
    client = serve(*RIGHT)
    assert client.get("/health").json() == {"status": "UP"}
    assert client.get("/health", headers=header(*RIGHT)).json()["model_version"] == "mobile_sam-1"


def test_a_webhook_comes_with_its_token_or_with_basic_auth(serve: Serve, backend: Any) -> None:
    """Label Studio's webhooks for annotations carry no Basic auth; those that start a training do."""
    client = serve(*RIGHT)
    event = {"action": "ANNOTATION_CREATED"}
    for headers in ({"X-Maskloop-Token": Guard(*RIGHT).webhook_token}, header(*RIGHT)):
        assert client.post("/webhook", json=event, headers=headers).status_code == 201
    assert [route for route, _ in backend.asked] == ["webhook"] * 2


def test_a_refused_webhook_is_told_in_the_log(serve: Serve, backend: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else would: Label Studio drops the error."""
    client = serve(*RIGHT)
    with caplog.at_level(logging.WARNING):
        assert client.post("/webhook", json={}, headers={"X-Maskloop-Token": "wrong"}).status_code == 401
    assert "feedback from Label Studio is not recorded" in caplog.text
    assert backend.asked == []


def test_the_webhooks_token_is_that_of_the_credentials_alone() -> None:
    """So that other servers and a restart know it. Each try of a password takes scrypt's time and memory."""
    token = Guard("a", "secret").webhook_token
    assert token == Guard("a", "secret").webhook_token
    assert token not in (Guard("a", "another").webhook_token, Guard("b", "secret").webhook_token)
    assert len(bytes.fromhex(token)) == 32


def test_credentials_come_from_the_settings() -> None:
    guard = Guard.from_settings(Settings(basic_auth_user="a", basic_auth_pass=SecretStr("b")))
    assert guard == Guard("a", "b")
    assert Guard.from_settings(Settings()).is_open
