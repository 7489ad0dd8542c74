"""A calibrated score is the chance that a person accepts the mask."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.learning.calibration import FEWEST, Calibration, _isotonic, calibration_error, fit


def judged(count: int, chance_of: object, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.uniform(0.3, 1.0, count)
    return scores, random.random(count) < chance_of(scores)  # type: ignore[operator]


@pytest.mark.parametrize(
    "chance_of",
    [lambda s: 1 / (1 + np.exp(-6 * (s - 0.8))), lambda s: 0.2 + 0.6 * (s > 0.7), lambda s: 0.5 * s],
    ids=["overconfident", "a step", "half as good"],
)
def test_the_chances_hold_for_masks_that_were_not_fitted_on(chance_of: object) -> None:
    scores, accepted = judged(1500, chance_of, seed=1)
    fresh, outcome = judged(3000, chance_of, seed=2)
    calibration = fit(scores, accepted)
    assert calibration_error(fresh, outcome) > 0.1
    assert calibration_error(calibration(fresh), outcome) < 0.05


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=120))
def test_a_better_score_never_means_a_smaller_chance(verdicts: list[tuple[float, bool]]) -> None:
    calibration = fit([score for score, _ in verdicts], [accepted for _, accepted in verdicts])
    chances = calibration(np.linspace(0, 1, 50))
    assert (np.diff(chances) >= -1e-12).all()
    assert ((chances >= 0) & (chances <= 1)).all()


def test_too_few_verdicts_change_nothing() -> None:
    assert fit([0.9] * (FEWEST - 1), [True] * (FEWEST - 1))([0.25, 0.9]).tolist() == [0.25, 0.9]


@pytest.mark.parametrize(("accepted", "chance"), [(0, 0), (1, 0), (199, 1), (200, 1)])
def test_verdicts_that_agree_leave_no_score_as_it_was(accepted: int, chance: float) -> None:
    found = fit([0.8] * 200, np.arange(200) < accepted)
    assert 0 < found(0.8) < 1
    assert found(0.8) == pytest.approx(chance, abs=0.02)


@pytest.mark.parametrize(("accepted", "chance"), [(0, 1 / 32), (30, 31 / 32)])
def test_thirty_verdicts_that_agree_make_nothing_certain(accepted: int, chance: float) -> None:
    """Platt's targets, which are Laplace's rule of succession where all scores are the same."""
    assert fit([0.93] * 30, np.arange(30) < accepted)(0.93) == pytest.approx(chance, rel=0.05)


def test_scores_that_say_nothing_get_the_share_that_was_accepted() -> None:
    random = np.random.default_rng(0)
    scores, accepted = random.random(2000), random.random(2000) < 0.3
    assert fit(scores, accepted)([0.1, 0.9]) == pytest.approx([0.3, 0.3], abs=0.08)


@pytest.mark.parametrize("best_first", [True, False])
def test_equal_scores_get_one_chance_whatever_their_order(best_first: bool) -> None:
    accepted = np.sort(np.arange(200) < 140)[:: -1 if best_first else 1]
    tied = _isotonic(np.r_[np.full(200, 1.0), np.full(40, 0.5)], np.r_[accepted, np.zeros(40)].astype(float))
    assert tied([0.5, 1.0]) == pytest.approx([0.0, 0.7])


def test_a_calibration_survives_being_written_down() -> None:
    calibration = fit(*judged(200, lambda s: s**2, seed=3))
    again = Calibration.model_validate_json(calibration.model_dump_json())
    assert again == calibration
    assert again.kind != "none"


def test_the_error_is_the_distance_between_chance_and_share() -> None:
    assert calibration_error([0.9] * 10, [True] * 9 + [False]) == pytest.approx(0)
    assert calibration_error([0.9] * 10, [True] * 5 + [False] * 5) == pytest.approx(0.4)
    assert calibration_error([], []) == 0


def test_few_verdicts_are_not_followed_into_every_corner() -> None:
    """Which map predicts best is told by masks that it wasn't fitted to: of others, the freer one always does."""
    kinds = [fit(*judged(40, lambda s: s, seed)).kind for seed in range(20)]
    assert kinds.count("logistic") > 10
