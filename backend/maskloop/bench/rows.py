"""A line of the benchmark's table, and how two ways of doing the same are timed fairly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Column, Table

BLOCK = 10
CALM = 0.3
"""Seconds between two blocks."""
WARM_UP = 1000
"""The number of a block's first call, which doesn't count, is so much larger than that of its next."""


@dataclass(frozen=True, slots=True)
class Row:
    """ours_ms, reference_ms: of the same work, measured in turns in one run; the median, or what the name says.
    ratio: reference over ours. limit_ms: the least that this machine's arithmetic and memory allow."""

    name: str
    ours_ms: float
    reference_ms: float | None = None
    limit_ms: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return self.reference_ms / self.ours_ms if self.reference_ms and self.ours_ms else None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio}


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def in_turns(
    ours: Callable[[], float], reference: Callable[[], float] | None, times: int
) -> tuple[float, float | None]:
    """Medians of ``times`` runs of each, one of ours and one of the reference in turn, after one of each to warm up.

    Both return their own milliseconds. A machine whose speed drifts slows both alike.
    """
    pairs = [(ours(), reference() if reference else None) for _ in range(times + 1)][1:]
    theirs = [other for _, other in pairs if other is not None]
    return median([own for own, _ in pairs]), median(theirs) if theirs else None


def in_blocks(works: Mapping[str, Callable[[int], float]], times: int) -> dict[str, list[float]]:
    """What each work returns for the numbers from 0 to ``times``: some of one, then of the next, and again.

    Threads of one go on spinning for a while after its last call, and would slow another's first ones.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for begin in range(0, times, BLOCK):
        for name, work in works.items():
            time.sleep(CALM)
            work(begin + WARM_UP)
            taken[name] += [work(number) for number in range(begin, min(begin + BLOCK, times))]
    return taken


def median(values: Sequence[float]) -> float:
    return percentile(values, 50)


def percentile(values: Sequence[float], share: float) -> float:
    return float(np.percentile(np.asarray(values), share))


def as_table(rows: Sequence[Row]) -> Table:
    table = Table(Column(no_wrap=True), "ours ms", "official ms", "ratio", "limit ms", "", title="maskloop bench")
    for column in table.columns[1:5]:
        column.justify = "right"
    for row in rows:
        ratio = f"{row.ratio:.2f}x" if row.ratio else ""
        table.add_row(row.name, number(row.ours_ms), number(row.reference_ms), ratio, number(row.limit_ms), row.note)
    return table


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"
