"""Work through many items in batches as large as memory allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batches:
    """``size`` is the largest batch; it halves whenever memory runs out, and stays there."""

    def __init__(self, size: int, out_of_memory: type[Exception]) -> None:
        self.size = size
        self.out_of_memory = out_of_memory

    def run(self, work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result]:
        """The work's results for all items, in order. Raises ``out_of_memory`` if there is none for a single item."""
        results: list[Result] = []
        while len(results) < len(items):
            batch = items[len(results) : len(results) + self.size]
            try:
                results += work(batch)
            except self.out_of_memory:
                if len(batch) == 1:
                    raise
                self.size = len(batch) // 2
        return results
