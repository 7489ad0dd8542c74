"""Scores that mean something: from the predicted score to the chance that a person accepts the mask.

Two maps, both monotonic, so that the order of the masks stays: a logistic one of the score's log odds (temperature and
offset: Platt 1999; Guo et al. 2017, https://arxiv.org/abs/1706.04599), and isotonic regression (Zadrozny and Elkan
2002) where there is enough to learn it from. Which one is kept is decided by cross-validation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

Scores = NDArray[np.float64]
FEWEST = 30
"""Judged masks below which nothing is fitted."""
FOLDS = 5
BINS = 10
EPSILON = 1e-4
PRIOR = np.array([1.0, 0.0])
"""Weights of the wish to leave slope and offset as they are: how many masks are accepted at all is soon known."""


class Calibration(BaseModel):
    """A monotonic map, linear between knots; ``chances[i]`` belongs to ``scores[i]``, constant outside."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["none", "logistic", "isotonic"] = "none"
    scores: tuple[float, ...] = (0.0, 1.0)
    chances: tuple[float, ...] = (0.0, 1.0)
    judged: int = 0
    """Masks that it was fitted to."""
    accepted: int = 0
    """Of them."""

    def __call__(self, scores: ArrayLike) -> Scores:
        """The chances, between 0 and 1, of predicted scores."""
        return np.interp(np.asarray(scores, np.float64), self.scores, self.chances)


class Chances(BaseModel):
    """What a version's scores are worth: of masks that somebody clicked or boxed, and of those found by themselves."""

    model_config = ConfigDict(frozen=True)

    prompted: Calibration = Calibration()
    automatic: Calibration = Calibration()

    @property
    def judged(self) -> int:
        """Masks that both were fitted to."""
        return self.prompted.judged + self.automatic.judged

    def or_else(self, other: Chances) -> Chances:
        """Where nothing could be fitted here, what the other has."""
        return Chances(
            prompted=other.prompted if self.prompted.kind == "none" else self.prompted,
            automatic=other.automatic if self.automatic.kind == "none" else self.automatic,
        )


UNKNOWN = Chances()
"""Leaves scores as they are."""


def fit(scores: ArrayLike, accepted: ArrayLike, seed: int = 0) -> Calibration:
    """The map that predicts best which of the masks were accepted; none if there are fewer than ``FEWEST``.

    If all of them or none were, it is the logistic one, whose prior keeps it from certainty.
    """
    x, y = np.asarray(scores, np.float64), np.asarray(accepted, np.float64)
    if len(x) < FEWEST:
        return Calibration(judged=len(x), accepted=int(y.sum()))
    unanimous = y.min() == y.max()
    fitters: Sequence[Callable[[Scores, Scores], Calibration]] = [_logistic] if unanimous else [_logistic, _isotonic]
    losses = [_cross_validated(fitter, x, y, seed) for fitter in fitters]
    best = fitters[int(np.argmin(losses))](x, y)
    return best.model_copy(update={"judged": len(x), "accepted": int(y.sum())})


def calibration_error(chances: ArrayLike, accepted: ArrayLike, bins: int = BINS) -> float:
    """Expected calibration error: the mean distance between chance and share accepted, over bins of equal count."""
    p, y = np.asarray(chances, np.float64), np.asarray(accepted, np.float64)
    if not len(p):
        return 0.0
    _, same = np.unique(p, return_inverse=True)
    y = (np.bincount(same, y) / np.bincount(same))[same]  # no order among equals
    parts = np.array_split(np.argsort(p, kind="stable"), min(bins, len(p)))
    return float(sum(len(part) * abs(p[part].mean() - y[part].mean()) for part in parts) / len(p))


def _cross_validated(fitter: Callable[[Scores, Scores], Calibration], x: Scores, y: Scores, seed: int) -> float:
    """Log loss on masks that the map was not fitted on."""
    fold = np.random.default_rng(seed).permutation(len(x)) % FOLDS
    return float(
        np.mean([_log_loss(fitter(x[fold != k], y[fold != k])(x[fold == k]), y[fold == k]) for k in range(FOLDS)])
    )


def _log_loss(chances: Scores, y: Scores) -> float:
    p = np.clip(chances, EPSILON, 1 - EPSILON)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))


def _sigmoid(x: Scores) -> Scores:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float64)


def _log_odds(scores: Scores) -> Scores:
    p = np.clip(scores, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(p / (1 - p)), np.float64)


def _logistic(x: Scores, y: Scores) -> Calibration:
    """Slope and offset by Newton's method, the slope drawn a little towards 1.

    Towards Platt's targets: of n masks that were all rejected, the next one has a chance of 1 / (n + 2), not none.
    """
    good = float(y.sum())
    y = np.where(y > 0.5, (good + 1) / (good + 2), 1 / (len(y) - good + 2))
    features = np.stack([_log_odds(x), np.ones(len(x))], axis=1)
    rest = np.array([1.0, 0.0])
    weights = rest.copy()
    for _ in range(50):
        p = _sigmoid(features @ weights)
        gradient = features.T @ (p - y) + PRIOR * (weights - rest)
        curvature = (features * (p * (1 - p))[:, None]).T @ features + np.diag(PRIOR)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = max(weights[0], 0.0), weights[1]
    knots = np.linspace(0, 1, 101, dtype=np.float64)
    chances = _sigmoid(slope * _log_odds(knots) + offset)
    return Calibration(kind="logistic", scores=tuple(knots), chances=tuple(chances))


def _isotonic(x: Scores, y: Scores) -> Calibration:
    """Pool adjacent violators, over groups of about the square root of all masks; a knot in the middle of each pool.

    Masks of one score all count as accepted to their mean share: which of them comes first says nothing.
    """
    _, which = np.unique(x, return_inverse=True)
    y = (np.bincount(which, y) / np.bincount(which))[which]
    groups = np.array_split(np.argsort(x, kind="stable"), max(2, int(len(x) ** 0.5)))
    pools: list[tuple[float, float, float]] = []  # masks, accepted, sum of scores
    for group in groups:
        pools.append((float(len(group)), float(y[group].sum()), float(x[group].sum())))
        while len(pools) > 1 and pools[-2][1] / pools[-2][0] >= pools[-1][1] / pools[-1][0]:
            last = pools.pop()
            pools[-1] = (pools[-1][0] + last[0], pools[-1][1] + last[1], pools[-1][2] + last[2])
    return Calibration(
        kind="isotonic",
        scores=tuple(total / count for count, _, total in pools),
        chances=tuple(good / count for count, good, _ in pools),
    )
