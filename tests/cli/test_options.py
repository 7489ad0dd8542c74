"""Flags from the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
import typer
from pydantic import SecretStr
from typer.testing import CliRunner

from maskloop.cli.options import load, with_settings
from maskloop.errors import BadRequest
from maskloop.settings import Settings


@pytest.fixture
def seen() -> list[tuple[Settings, str]]:
    return []


@pytest.fixture
def app(seen: list[tuple[Settings, str]], monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MASKLOOP_{name.upper()}", raising=False)

    def command(settings: Settings, name: Annotated[str, typer.Option(help="Own.")] = "none") -> None:
        """What it does."""
        seen.append((settings, name))

    app = typer.Typer()
    app.command()(with_settings(command, without=["port"]))
    return app


def test_a_flag_comes_before_a_variable_and_that_before_the_default(
    app: typer.Typer, seen: list[tuple[Settings, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MASKLOOP_THREADS", "3")
    monkeypatch.setenv("MASKLOOP_HOST", "10.0.0.1")
    flags = [
        "--threads",
        "5",
        "--allowed-hosts",
        "a.org, *.b.org",
        "--engine",
        "torch-cpu",
        "--data-dir",
        str(tmp_path),
    ]
    flags += ["--label-studio-url", "http://label.studio:8080", "--basic-auth-user", "ann"]
    flags += ["--basic-auth-pass", "secret", "--name", "own"]
    assert CliRunner().invoke(app, flags).exit_code == 0
    ((settings, name),) = seen
    assert (settings.threads, settings.host, settings.port, name) == (5, "10.0.0.1", 9090, "own")
    assert settings.allowed_hosts == ("a.org", "*.b.org")
    assert (settings.engine, settings.data_dir) == ("torch-cpu", tmp_path)
    assert str(settings.label_studio_url) == "http://label.studio:8080/"
    assert settings.basic_auth_pass == SecretStr("secret")


def test_help_has_each_setting_with_its_description(app: typer.Typer) -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "400"}).output
    for name, field in Settings.model_fields.items():
        if name != "port":
            assert f"--{name.replace('_', '-')}" in shown
            assert str(field.description) in shown
    assert "What it does." in shown
    assert "--port" not in shown


def test_a_tilde_is_the_home_where_no_shell_saw_it() -> None:
    """As in a service's file of variables."""
    settings = load({"data_dir": "~/data", "weights_dir": "~/weights", "local_files_root": "~/photos"})
    home = Path.home()
    assert settings.data_dir == home / "data"
    assert (settings.weights_dir, settings.local_files_root) == (home / "weights", home / "photos")


def test_a_bad_value_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest, match="MASKLOOP_CLICK_DEADLINE"):
        load({"click_deadline": -1})
    monkeypatch.setenv("MASKLOOP_PORT", "99999")
    with pytest.raises(BadRequest, match="MASKLOOP_PORT: Input should be less than or equal to 65535"):
        load()


def test_another_process_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        {
            "allowed_hosts": "a.org *.b.org",
            "label_studio_api_key": "secret",
            "label_studio_url": "http://label.studio",
            "local_files_root": "/srv/images",
            "allow_private_addresses": True,
            "image_timeout": 2.5,
            "database_url": "postgresql://user:password@host/maskloop",
        }
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load() == settings
