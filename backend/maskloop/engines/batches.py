"""Work through many items in batches as large as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches:
    """``size`` is the largest batch now: it halves whenever memory runs out, and doubles with each further call up to
    ``most``, as others may have given theirs back.

    wants_memory: of an error, whether a smaller batch may do.
    """

    def __init__(self, most: int, wants_memory: Callable[[Exception], bool]) -> None:
        self.most = self.size = most
        self.wants_memory = wants_memory

    def run(self, work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result]:
        """The work's results for all items, in order. Raises what the work raises, if there is no memory for a single
        item, or that isn't what it wants."""
        self.size = min(self.most, 2 * self.size)
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            try:
                results += work(batch)
            except RuntimeError as error:
                if len(batch) == 1 or not self.wants_memory(error):
                    raise
                self.size = len(batch) // 2
        return results
