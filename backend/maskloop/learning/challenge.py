"""Is a challenger, which answers the clicks of some tasks, better than the version in service? People's hands tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from maskloop.learning.acceptance import judged_masks
from maskloop.learning.bootstrap import ROUNDS, Interval
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Prediction

Answered = Callable[[int | None, int], bool]
"""Whether a version is the one to answer, in the project of that number, the task of that number."""
FEWEST = 20
"""Tasks of each side below which nothing is said."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What people kept of a version's masks for clicks and boxes. accepted: share of the masks.

    kept: float64 (N,), for each task the mean over its masks; see ``JudgedMask``.
    """

    version: str
    masks: int
    accepted: float
    kept: NDArray[np.float64]


def side(store: FeedbackStore, version: str, since: datetime, answered: Answered) -> Side:
    """What people did with a version's masks made since then, on the tasks that it ``answered``.

    Raises FeedbackUnavailable.
    """
    asked = Prediction.prompts.is_not(None), Prediction.made_at >= since
    masks = [mask for mask in judged_masks(store, None, version, *asked) if answered(mask.project_id, mask.task_id)]
    accepted = sum(mask.accepted for mask in masks) / len(masks) if masks else 0.0
    return Side(version, len(masks), accepted, _by_task((mask.task_id, mask.kept) for mask in masks))


def difference(challenger: Side, served: Side, seed: int = 0) -> Interval | None:
    """By a bootstrap that draws whole tasks of each side; None if either has too few."""
    if min(len(challenger.kept), len(served.kept)) < FEWEST:
        return None
    chance = np.random.default_rng(seed)
    drawn = _means(challenger.kept, chance) - _means(served.kept, chance)
    return Interval.of(
        float(challenger.kept.mean() - served.kept.mean()), drawn, min(len(challenger.kept), len(served.kept))
    )


def verdict(found: Interval | None, sides: Sequence[Side]) -> str:
    """What to make of it, for a person to read."""
    if found is None:
        return f"Too early to say: {FEWEST} tasks of each are needed, there are {_counts(sides)}."
    if found.low > 0:
        return "People keep more of the challenger's masks, beyond chance: promote it."
    if found.high < 0:
        return "People keep less of the challenger's masks, beyond chance: end the challenge."
    return f"No difference beyond chance yet, with {_counts(sides)} tasks."


def _by_task(found: Iterable[tuple[int, float]]) -> NDArray[np.float64]:
    """Each task's mean of what masks have, (tasks,)."""
    tasks: dict[int, list[float]] = defaultdict(list)
    for task, value in found:
        tasks[task].append(value)
    return np.array([np.mean(values) for values in tasks.values()], np.float64)


def _means(values: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
    """(ROUNDS,)"""
    drawn: NDArray[np.float64] = values[chance.integers(len(values), size=(ROUNDS, len(values)))]
    return drawn.mean(axis=1)  # type: ignore[no-any-return]


def _counts(sides: Sequence[Side]) -> str:
    return " and ".join(str(len(one.kept)) for one in sides)
