"""OpenVINO is used, and nobody is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from maskloop.engines.openvino_without_telemetry import openvino
from openvino.tools.ovc import convert_impl, telemetry_utils
print(telemetry_utils.tm.__name__, sorted(name for name in sys.modules if name.startswith("openvino_telemetry.")))
"""


def test_nothing_is_sent_nor_written_at_home(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    environment = {**os.environ, "HOME": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "openvino.tools.ovc.telemetry_stub []\n"
    assert list(tmp_path.iterdir()) == []
