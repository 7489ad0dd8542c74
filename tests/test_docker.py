"""docker/ can't be run here; what it says is held against the project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from typer.testing import CliRunner

from maskloop.cli.main import app
from maskloop.settings import Settings

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
GPU: dict[str, Any] = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())
HADOLINT = Path(sys.executable).with_name("hadolint")
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "maskloop"}


def environment_names() -> set[str]:
    """Every variable that the settings are read from."""
    names = set()
    for name, field in Settings.model_fields.items():
        names.add(f"MASKLOOP_{name.upper()}")
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
    return names


def test_hadolint_finds_no_fault() -> None:
    if not HADOLINT.exists():
        pytest.skip("hadolint is installed on Linux x86_64 only")
    lint = subprocess.run([HADOLINT, DOCKER / "Dockerfile"], capture_output=True)
    assert (lint.returncode, lint.stdout) == (0, b"")


@pytest.mark.parametrize("path", [path for path in DOCKER.iterdir() if path.is_file()], ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"\b(?:MASKLOOP|LABEL_STUDIO)_[A-Z_]+\b", path.read_text()))
    assert named <= environment_names()


@pytest.mark.parametrize("copied", re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M))
def test_the_image_is_built_from_files_that_exist_and_reach_the_build(copied: str) -> None:
    reaching = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    for name in copied.split():
        assert (ROOT / name).exists()
        assert f"!{name}" in reaching


def test_what_the_code_links_to_is_in_the_build_too() -> None:
    links = [path for path in (ROOT / "backend").rglob("*") if path.is_symlink()]
    outside = {str(link.resolve().relative_to(ROOT)) for link in links}
    assert outside <= {name for names in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for name in names.split()}


@pytest.mark.parametrize("name", OURS)
def test_every_service_runs_a_command_that_exists(name: str) -> None:
    result = CliRunner().invoke(app, [*OURS[name]["command"], "--help"])
    assert result.exit_code == 0, result.output


def test_each_queue_has_its_worker_and_the_server_none() -> None:
    queues = {service["command"][2] for service in OURS.values() if service["command"][0] == "worker"}
    assert queues == {"interactive", "batch", "train"}
    server = OURS["server"]["environment"]
    assert {server[f"MASKLOOP_{queue.upper()}_WORKERS"] for queue in queues} == {"0"}


def test_the_file_of_settings_cant_break_what_the_containers_rely_on() -> None:
    for service in OURS.values():
        given = service["environment"]
        assert service["env_file"] == "maskloop.env"
        assert given["MASKLOOP_REDIS_URL"] == "redis://redis:6379/0"
        assert [given["MASKLOOP_DATA_DIR"], given["MASKLOOP_WEIGHTS_DIR"]] == ["/data", "/weights"]
    server = OURS["server"]
    host, port = server["environment"]["MASKLOOP_HOST"], server["environment"]["MASKLOOP_PORT"]
    assert host == "0.0.0.0"
    assert server["ports"][0].endswith(f":{port}")
    assert f"127.0.0.1:{port}/health" in DOCKERFILE


def test_what_is_under_way_may_end() -> None:
    for name in ("server", "interactive", "batch", "train"):
        assert OURS[name]["stop_grace_period"] == "2m"


def test_clicks_come_before_batches_and_those_before_training() -> None:
    """Niceness doesn't count between containers."""
    shares = [OURS[name].get("cpu_shares", 1024) for name in ("interactive", "batch", "train")]
    assert shares == sorted(set(shares), reverse=True)


def test_redis_keeps_what_it_was_given() -> None:
    redis = COMPOSE["services"]["redis"]
    assert redis["command"][1:3] == ["--appendonly", "yes"]
    assert "redis:/data" in redis["volumes"]


def test_all_services_share_data_and_weights_which_the_image_makes_writable() -> None:
    for service in OURS.values():
        assert service["volumes"] == ["data:/data", "weights:/weights"]
    assert "--owner maskloop --group maskloop /data /weights" in DOCKERFILE
    assert re.search(r"^USER 10001$", DOCKERFILE, re.M)


def test_the_gpu_file_changes_services_that_exist() -> None:
    assert set(GPU["services"]) == set(OURS)
    assert all(service["image"] == "maskloop:cuda" for service in GPU["services"].values())
    arguments = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.M))
    assert GPU["services"]["server"]["build"]["args"].keys() <= COMPOSE["services"]["server"]["build"]["args"].keys()
    assert COMPOSE["services"]["server"]["build"]["args"].keys() <= arguments
