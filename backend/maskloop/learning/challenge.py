"""Is a challenger, which answers the clicks of some tasks, better than the version in service? People's hands tell: by
what they keep of its masks, and by how many clicks they give until they do."""

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
WIDER = 1.9
"""Intervals, than for a single look at a single figure. People look at two, again and again: of simulated challenges
among equals, looked at after every five of the challenger's tasks from 20 to 200, 55 % showed a difference at some
time if this was 1, and less than 5 % at 1.9 (if the challenger had a fifth of the tasks; 1 % if it had half)."""


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What people kept of a version's masks for clicks and boxes. accepted: share of the masks.

    kept: float64 (N,), for each task the mean over its masks; see ``JudgedMask``. prompts: float64 (M,), the same over
    those of which anything was kept.
    """

    version: str
    masks: int
    accepted: float
    kept: NDArray[np.float64]
    prompts: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of challenger and version in service: how much more is kept, and with how many more prompts. None of too few."""

    kept: Interval | None
    prompts: Interval | None


def side(store: FeedbackStore, version: str, since: datetime, answered: Answered) -> Side:
    """What people did with a version's masks made since then, on the tasks that it ``answered``.

    Raises FeedbackUnavailable.
    """
    asked = Prediction.prompts.is_not(None), Prediction.made_at >= since
    masks = [mask for mask in judged_masks(store, None, version, *asked) if answered(mask.project_id, mask.task_id)]
    accepted = sum(mask.accepted for mask in masks) / len(masks) if masks else 0.0
    kept = _by_task((mask.task_id, mask.kept) for mask in masks)
    prompts = _by_task((mask.task_id, mask.prompts) for mask in masks if mask.kept and mask.prompts)
    return Side(version, len(masks), accepted, kept, prompts)


def compare(challenger: Side, served: Side) -> Comparison:
    return Comparison(difference(challenger.kept, served.kept), difference(challenger.prompts, served.prompts))


def difference(challenger: NDArray[np.float64], served: NDArray[np.float64], seed: int = 0) -> Interval | None:
    """Of the means of each side's tasks, by a bootstrap that draws whole tasks; None if either has too few."""
    if min(len(challenger), len(served)) < FEWEST:
        return None
    chance = np.random.default_rng(seed)
    mean = float(challenger.mean() - served.mean())
    drawn = _means(challenger, chance) - _means(served, chance)
    return Interval.of(mean, mean + WIDER * (drawn - mean), min(len(challenger), len(served)))


def verdict(found: Comparison, sides: Sequence[Side]) -> str:
    """What to make of it, for a person to read."""
    kept, prompts = found.kept, found.prompts
    if kept is None:
        return f"Too early to say: {FEWEST} tasks of each are needed, there are {_counts(sides)}."
    better = ["keep more"] * (kept.low > 0) + ["click less"] * (prompts is not None and prompts.high < 0)
    worse = ["keep less"] * (kept.high < 0) + ["click more"] * (prompts is not None and prompts.low > 0)
    if not better and not worse:
        return f"No difference beyond chance yet, with {_counts(sides)} tasks."
    advice = "you choose" if better and worse else "promote it" if better else "end the challenge"
    return f"With the challenger, people {' and '.join(better + worse)}, beyond chance: {advice}."


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
