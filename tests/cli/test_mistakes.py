"""A mistake in the settings, a folder or a name is a sentence, and told before the work."""

from __future__ import annotations

from importlib import import_module

import pytest

from maskloop.cli.main import COMMANDS, load
from maskloop.dispatch.queues import connect
from maskloop.errors import BadRequest
from maskloop.learning.store import open_store
from maskloop.settings import Settings

ARGUMENTS = {
    "weights": ["verify"],
    "models": ["list"],
    "sync": ["--project", "1"],
    "report": ["--project", "1"],
    "train": ["--images", ".", "--annotations", "a.json", "--name", "new"],
    "classes": ["--images", ".", "--annotations", "a.json", "--name", "new"],
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_command_names_the_variable_at_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_PORT", "abc")
    with pytest.raises(BadRequest, match="MASKLOOP_PORT"):
        load(COMMANDS[name])(args=ARGUMENTS[name])


@pytest.mark.parametrize("engine", [None, "torch-cpu"])
def test_what_measures_names_the_variable_at_fault(engine: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_PORT", "abc")
    with pytest.raises(BadRequest, match="MASKLOOP_PORT"):
        import_module("maskloop.cli.wiring").make_engine(None, engine)


@pytest.mark.parametrize("url", ["nonsense", "http://host", "redis://host:port"])
def test_no_address_of_a_redis(url: str) -> None:
    with pytest.raises(BadRequest, match="MASKLOOP_REDIS_URL"):
        connect(url)


@pytest.mark.parametrize("url", ["nonsense", "mysql://host", "levitating://host", "postgresql://host:port/name"])
def test_no_address_of_a_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_DATABASE_URL", url)
    with pytest.raises(BadRequest, match="MASKLOOP_DATABASE_URL"):
        open_store(Settings())
