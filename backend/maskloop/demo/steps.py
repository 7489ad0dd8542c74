"""What the demo says while it works: one line a step, with how it ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console

from maskloop.errors import MaskloopError


class Steps:
    """Prints steps to ``console``, with a spinner while one takes; ``failed`` counts those that did not hold."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.failed = 0

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """One step. Call what it yields with a detail to show meanwhile; the last detail stays in the step's line.

        A MaskloopError inside is printed as the reason and raised on.
        """
        detail = ""
        begin = time.monotonic()
        with self._console.status(doing) as status:

            def show(text: str) -> None:
                nonlocal detail
                detail = text
                status.update(f"{doing}: {text}")

            try:
                yield show
            except MaskloopError as error:
                self.failed += 1
                status.stop()
                self.say(f"FAIL  {doing}: {error}")
                raise
        self.say(f"ok    {doing}{': ' if detail else ''}{detail} ({time.monotonic() - begin:.1f} s)")

    @contextlib.contextmanager
    def attempt(self, doing: str) -> Iterator[Callable[[str], None]]:
        """A step after which the next ones make sense even if it fails."""
        with contextlib.suppress(MaskloopError), self.step(doing) as show:
            yield show
