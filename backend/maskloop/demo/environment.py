"""Label Studio's virtual environment. It pins its own SDK, redis and numpy, hence one of its own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

from maskloop.demo.checkout import DemoError


def install_label_studio(environment: Path, lock: Path, progress: Callable[[str], None]) -> Path:
    """Install Label Studio as locked, unless that was done before; return its ``label-studio`` command.

    environment: folder of the virtual environment, made if absent, made anew if the lock has changed.
    lock: pip constraints file.
    progress: told each package's name as pip comes to it.
    Raises DemoError with pip's last lines.
    """
    command = environment / "bin" / "label-studio"
    stamp = environment / "installed"
    fingerprint = hashlib.sha256(lock.read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == fingerprint and command.is_file():
        return command
    venv.create(environment, clear=True, with_pip=True)
    _pip_install(environment / "bin" / "python", lock, progress)
    stamp.write_text(fingerprint)
    return command


def _pip_install(python: Path, lock: Path, progress: Callable[[str], None]) -> None:
    pip_install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603
        [*pip_install, "-c", str(lock), "label-studio"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        assert pip.stdout is not None
        for line in pip.stdout:
            lines.append(line)
            if line.startswith("Collecting "):
                progress(line.split()[1])
            elif line.startswith("Installing "):
                progress("unpacking")
    if pip.returncode:
        said = [line for line in lines if line.startswith("ERROR")] or lines[-5:]
        raise DemoError(f"pip did not install Label Studio: {''.join(said).strip()}", f"Python: {sys.version}")
