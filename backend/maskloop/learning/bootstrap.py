"""How far chance may have moved a mean difference: bootstrap intervals (Efron 1979)."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

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
    def of(cls, mean: float, drawn: NDArray[np.float64], units: int) -> Interval:
        """drawn: (ROUNDS,), the difference in each draw of ``units`` photos or tasks, at least two.

        Draws of a few units lie too close together: by sqrt(1 - 1 / units), and by what a normal distribution is
        narrower than Student's t (Abramowitz & Stegun 26.7.5). The interval is widened by both.
        """
        low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        free, z2 = units - 1, NormalDist().inv_cdf((1 + CONFIDENCE) / 2) ** 2
        student = 1 + (z2 + 1) / (4 * free) + (5 * z2**2 + 16 * z2 + 3) / (96 * free**2)
        wider = student * (units / free) ** 0.5
        low, high = mean + wider * (low - mean), mean + wider * (high - mean)
        return cls(mean, float(low), float(high))

    def __str__(self) -> str:
        return f"{self.mean:+.3f} ({self.low:+.3f} to {self.high:+.3f})"
