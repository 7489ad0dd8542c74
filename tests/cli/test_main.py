"""The command line as a whole."""

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from maskloop import __version__
from maskloop.cli.main import COMMANDS, app, load

MASKLOOP = [sys.executable, "-m", "maskloop.cli.main"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MASKLOOP, *arguments], capture_output=True, text=True, timeout=120)


def test_help_lists_the_commands_and_imports_none_of_them() -> None:
    script = (
        "import sys\n"
        "from maskloop.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'fastapi', 'rq', 'cv2', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0, shown.stderr
    for name, command in COMMANDS.items():
        assert (name in shown.stdout) is not command.hidden


@pytest.mark.parametrize(("before", "after"), [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7")], ids=["unset", "set"])
def test_pytorchs_threads_share_the_cores_unless_told_otherwise(before: dict[str, str], after: str) -> None:
    """Read once, as PyTorch is imported."""
    script = (
        "import os, sys\n"
        "from maskloop.cli import main\n"
        "def load(command):\n"
        "    assert 'torch' not in sys.modules\n"
        "    print(os.environ['GOMP_SPINCOUNT'])\n"
        "    raise SystemExit\n"
        "main.load = load\n"
        "main.app(['train'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"} | before
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environment)
    assert (shown.stdout.strip(), shown.stderr) == (after, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f"maskloop {name}" in shown.stdout
    assert "completion" not in shown.stdout, "its script would call a program that isn't there"


def test_the_summary_of_models_names_all_it_does() -> None:
    for command in load(COMMANDS["models"]).registered_commands:
        assert f" {command.name}" in COMMANDS["models"].summary


def test_the_version_is_told() -> None:
    shown = run("--version")
    assert (shown.returncode, shown.stdout.strip()) == (0, __version__)


def test_an_error_is_a_sentence_and_an_exit_status() -> None:
    shown = run("weights", "verify", "--weights-dir", "/nowhere")
    assert shown.returncode == 1
    assert shown.stderr.startswith("Error: ")
    assert "Traceback" not in shown.stderr


def test_an_unknown_command_or_flag_is_refused() -> None:
    assert run("levitate").returncode == 2
    assert run("serve", "--levitate").returncode == 2
