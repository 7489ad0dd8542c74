"""OpenVINO that tells nobody that it is used; all of maskloop takes it from here.

By itself it imports ``openvino_telemetry``, which sends an event to Google Analytics for each import and some eighty
for each conversion (the system, a lasting number for the user, the operators used), and writes ``~/intel``. Where that
package can't be imported, OpenVINO takes a stub of its own that does nothing.
"""

from __future__ import annotations

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

import openvino  # noqa: E402

__all__ = ["openvino"]
