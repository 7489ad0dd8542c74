"""Is a challenger, which answers the clicks of some tasks, better than the version in service? People's hands tell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from maskloop.learning.acceptance import by_mask
from maskloop.learning.bootstrap import ROUNDS, Interval
from maskloop.learning.store import FeedbackStore
from maskloop.learning.tables import Prediction

Answered = Callable[[int | None, int], bool]
"""Whether a version is the one to answer, in the project of that number, the task of that number."""
FEWEST = 20
"""Tasks of each side below which nothing is said."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What people kept of a version's masks for clicks and boxes.

    kept: float64 (N,), for each task the mean over its masks; see ``by_mask``. accepted: share of the masks.
    """

    version: str
    masks: int
    accepted: float
    kept: NDArray[np.float64]


def side(store: FeedbackStore, version: str, since: datetime, answered: Answered) -> Side:
    """What people did with a version's masks made since then, on the tasks that it ``answered``.

    Raises FeedbackUnavailable.
    """
    query = by_mask(None, version).where(Prediction.prompts.is_not(None), Prediction.made_at >= since)
    tasks: dict[int, list[float]] = defaultdict(list)
    accepted = masks = 0
    with store.session() as session:
        for mask in session.execute(query):
            if answered(mask.project_id, mask.task_id):
                tasks[mask.task_id].append(float(mask.kept))
                masks, accepted = masks + 1, accepted + bool(mask.accepted)
    kept = np.array([np.mean(values) for values in tasks.values()], np.float64)
    return Side(version, masks, accepted / masks if masks else 0.0, kept)


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


def _means(values: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
    """(ROUNDS,)"""
    drawn: NDArray[np.float64] = values[chance.integers(len(values), size=(ROUNDS, len(values)))]
    return drawn.mean(axis=1)  # type: ignore[no-any-return]


def _counts(sides: Sequence[Side]) -> str:
    return " and ".join(str(len(one.kept)) for one in sides)
