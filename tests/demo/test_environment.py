"""Label Studio is installed once for each lock."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from maskloop.demo.checkout import DemoError
from maskloop.demo.environment import install_label_studio


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock, and a pip that finds no package."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    file = tmp_path / "label-studio.lock"
    file.write_text("label-studio==1.0\n")
    return file


def installed(environment: Path, lock: Path) -> Path:
    command = environment / "bin" / "label-studio"
    command.parent.mkdir(parents=True)
    command.touch()
    (environment / "installed").write_text(hashlib.sha256(lock.read_bytes()).hexdigest())
    return command


def test_what_is_installed_as_locked_is_used_as_it_is(tmp_path: Path, lock: Path) -> None:
    command = installed(tmp_path / "venv", lock)
    assert install_label_studio(tmp_path / "venv", lock, lambda _: pytest.fail("installs")) == command


def test_a_failed_installation_says_what_pip_said_and_is_not_taken_for_one(tmp_path: Path, lock: Path) -> None:
    installed(tmp_path / "venv", lock)
    lock.write_text(lock.read_text() + "# changed\n")
    for _ in range(2):
        with pytest.raises(DemoError, match="pip did not install Label Studio: ERROR"):
            install_label_studio(tmp_path / "venv", lock, lambda _: None)
    assert not (tmp_path / "venv" / "installed").exists()
