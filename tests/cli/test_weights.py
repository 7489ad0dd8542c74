"""`maskloop weights` says what is there, and fails by name when it isn't right."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from maskloop.cli.weights import app
from maskloop.errors import WeightsError


@pytest.mark.weights
def test_the_official_file_is_verified_and_not_fetched_again(official_weights: Path) -> None:
    for command in ("verify", "fetch"):
        result = CliRunner().invoke(app, [command, "--weights-dir", str(official_weights.parent)])
        assert result.exit_code == 0
        assert str(official_weights) in result.output


def test_a_wrong_file_fails_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mobile_sam.pt").write_bytes(b"cut short")
    result = CliRunner().invoke(app, ["verify", "--weights-dir", str(tmp_path)])
    assert isinstance(result.exception, WeightsError)
    assert "maskloop weights fetch" in str(result.exception)
