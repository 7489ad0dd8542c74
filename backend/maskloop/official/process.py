"""The official code, run beside ours: the other end of ``script.py``."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from maskloop.engines.runtime import unshared
from maskloop.errors import BadRequest

SCRIPT = Path(__file__).with_name("script.py")


class OfficialProcess:
    """The official predictor and generator in a process of its own; a context manager that ends it.

    python: an interpreter in which ``mobile_sam`` imports. weights: the official checkpoint. Raises BadRequest
    if it doesn't start.
    """

    def __init__(self, python: Path, weights: Path) -> None:
        try:
            self._process = subprocess.Popen(  # noqa: S603 - an interpreter that the user names
                [str(python), str(SCRIPT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=unshared(),
            )
        except OSError as error:
            raise BadRequest(f"{python} can't be started: {error.strerror}.") from error
        self.ask("load", weights=str(weights.resolve()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one of the script's requests. Raises BadRequest if the process fails or has ended."""
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
                "Its interpreter needs mobilesam-mirror, timm, torch and torchvision (the extra `reference`).",
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BadRequest(f"The official code failed: {answer['error']}.")
        return answer

    def milliseconds(self, operation: str, **arguments: Any) -> float:
        """What the operation took there, measured there."""
        return float(self.ask(operation, **arguments)["ms"])
