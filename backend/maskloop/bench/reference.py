"""The official code beside ours: the other end of ``reference_process.py``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from maskloop.bench import reference_process
from maskloop.errors import BadRequest


class Reference:
    """The official predictor in a process of its own, which ``close`` ends.

    python: an interpreter in which ``mobile_sam`` and ``label_studio_sdk`` import. Raises BadRequest if it doesn't
    start, or dies.
    """

    def __init__(self, python: Path, weights: Path) -> None:
        script = str(Path(reference_process.__file__))
        try:
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter that the user names
                [str(python), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise BadRequest(f"{python} can't be started: {error.strerror}.") from error
        self.memory = int(self.ask("load", weights=str(weights.resolve()))["memory"])

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def milliseconds(self, operation: str, **arguments: Any) -> float:
        """What ``operation`` took there, measured there."""
        return float(self.ask(operation, **arguments)["ms"])

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            print(json.dumps({"op": operation, **arguments}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise BadRequest(
                "The official code's process ended; what it said is above.",
                "Its interpreter needs `pip install 'maskloop[reference]'`: `make bench` makes one.",
            )
        answer: dict[str, Any] = json.loads(line)
        return answer
