"""In which order a training sees what it learns from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from maskloop.learning.samples import Sample, Target
from maskloop.learning.training_settings import TrainingSettings

PROMPTS_AT_ONCE = 8
"""On one photo; more take memory and save no time."""


class Lesson(NamedTuple):
    """Some objects on one view of a photo."""

    sample: Sample
    targets: Sequence[Target]


def count_steps(samples: Sequence[Sequence[Sample]], settings: TrainingSettings) -> int:
    return sum(1 for _ in batches(samples, settings))


def batches(samples: Sequence[Sequence[Sample]], settings: TrainingSettings) -> Iterator[Sequence[Lesson]]:
    """What each step learns from. An epoch sees one view of each photo and all its objects there once."""
    return islice(_all_batches(samples, settings), settings.most_steps)


def _all_batches(samples: Sequence[Sequence[Sample]], settings: TrainingSettings) -> Iterator[Sequence[Lesson]]:
    at_once = min(PROMPTS_AT_ONCE, settings.prompts_per_step)
    for epoch in range(settings.epochs):
        chance = np.random.default_rng([settings.seed, epoch])
        lessons: list[Lesson] = []
        for views in samples:
            sample = views[max(0, int(chance.integers(-1, len(views))))]  # the photo itself twice as often as others
            order = chance.permutation(len(sample.targets))
            for start in range(0, len(order), at_once):
                lessons.append(Lesson(sample, [sample.targets[index] for index in order[start : start + at_once]]))
        step: list[Lesson] = []
        for index in chance.permutation(len(lessons)):
            step.append(lessons[index])
            if prompts(step) >= settings.prompts_per_step:
                yield step
                step = []
        if step:
            yield step


def prompts(lessons: Sequence[Lesson]) -> int:
    return sum(len(lesson.targets) for lesson in lessons)
