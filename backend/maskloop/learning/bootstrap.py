"""How far chance may have moved a mean difference: bootstrap intervals (Efron 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """Of a mean difference, the newer model minus the one in service."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, mean: float, drawn: NDArray[np.float64]) -> Interval:
        """drawn: (ROUNDS,), the difference in each draw."""
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return cls(mean, float(low), float(high))

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
