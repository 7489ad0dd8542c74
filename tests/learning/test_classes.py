"""Classes are learned from a few examples, and what isn't sure isn't said."""

from pathlib import Path

import numpy as np
import pytest

from maskloop.errors import BadRequest
from maskloop.learning.classes import FEWEST, Classes, fit
from maskloop.learning.classifiers import Classifiers, of_project
from maskloop.sam.values import LOOKS_LENGTH

NAMES = ("apple", "bird", "cat")
CENTRES = np.random.default_rng(1).normal(size=(len(NAMES), LOOKS_LENGTH))


def examples(count: int, noise: float, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """``count`` of each class, five to a photo."""
    chance = np.random.default_rng(seed)
    labels = [name for name in NAMES for _ in range(count)]
    looks = np.stack([CENTRES[NAMES.index(label)] + chance.normal(0, noise, LOOKS_LENGTH) for label in labels])
    return looks, labels, [f"{label} {number // 5}" for number, label in enumerate(labels)]


def test_classes_that_look_different_are_told_apart_from_ten_examples_each() -> None:
    classes = fit(*examples(10, 2.0))
    looks, labels, _ = examples(50, 2.0, seed=9)
    assert classes.names == NAMES
    assert classes.predict(looks) == labels
    assert classes.right == 1.0
    np.testing.assert_allclose(classes.chances(looks).sum(axis=1), 1)


def test_the_less_can_be_told_the_less_is_said_and_what_is_said_is_right_more_often() -> None:
    classes = fit(*examples(10, 6.0))
    looks, labels, _ = examples(300, 6.0, seed=9)
    said = classes.predict(looks)
    guessed = np.array(NAMES)[classes.chances(looks).argmax(axis=1)]
    answered = np.array([answer is not None for answer in said])
    right = guessed == labels
    assert 0.1 < answered.mean() < 0.95
    assert right[answered].mean() > right.mean() + 0.03


def test_chance_is_no_knowledge() -> None:
    looks, labels, photos = examples(10, 1.0)
    mixed = list(np.random.default_rng(3).permutation(labels))
    classes = fit(np.random.default_rng(2).normal(size=looks.shape), mixed, photos)
    assert classes.right < 0.6
    assert sum(answer is not None for answer in classes.predict(looks)) < len(looks)


def test_equal_examples_give_equal_classes_whatever_came_before() -> None:
    first, _, again = fit(*examples(5, 1.0)), fit(*examples(5, 2.0)), fit(*examples(5, 1.0))
    assert np.array_equal(first.weights, again.weights)


def test_many_examples_of_one_class_do_not_drown_the_others() -> None:
    looks, labels, photos = examples(100, 3.0)
    kept = [index for index, label in enumerate(labels) if label == "bird" or index % 10 == 0]
    classes = fit(looks[kept], [labels[index] for index in kept], [photos[index] for index in kept])
    fresh, truth, _ = examples(50, 3.0, seed=9)
    guessed = np.array(NAMES)[classes.chances(fresh).argmax(axis=1)]
    assert all((guessed == name)[np.array(truth) == name].mean() > 0.8 for name in NAMES)


def test_too_few_examples_are_told_with_their_counts() -> None:
    looks, labels, photos = examples(FEWEST, 1.0)
    assert fit(looks[:-1], labels[:-1], photos[:-1]).names == ("apple", "bird")
    with pytest.raises(BadRequest, match="3 apple, 1 bird"):
        fit(looks[: FEWEST + 1], labels[: FEWEST + 1], photos[: FEWEST + 1])


def test_examples_of_one_photo_are_tested_by_one_another() -> None:
    looks, labels, _ = examples(10, 1.0)
    assert fit(looks, labels, ["one"] * len(labels)).right == 1.0


class TestKept:
    def test_what_is_kept_comes_back_and_what_replaces_it_is_noticed(self, tmp_path: Path) -> None:
        kept, elsewhere = Classifiers(tmp_path), Classifiers(tmp_path)
        assert kept.find(of_project(7)) is None
        looks, _, _ = examples(5, 1.0)
        for noise in (1.0, 2.0):
            classes = fit(*examples(5, noise))
            kept.put(of_project(7), classes)
            found = elsewhere.get(of_project(7))
            assert np.array_equal(found.chances(looks), classes.chances(looks))
            assert (found.names, found.threshold) == (classes.names, classes.threshold)
        assert kept.names() == ["project-7"]

    def test_what_is_missing_damaged_or_misnamed_is_told(self, tmp_path: Path) -> None:
        kept = Classifiers(tmp_path)
        with pytest.raises(BadRequest, match="no classes called 'birds'"):
            kept.get("birds")
        with pytest.raises(BadRequest, match="can't be called"):
            kept.get("../birds")
        kept.put("birds", fit(*examples(5, 1.0)))
        path = tmp_path / "classes" / "birds.npz"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(BadRequest, match="Learn the classes again"):
            Classifiers(tmp_path).get("birds")

    def test_features_of_another_length_are_refused(self) -> None:
        classes = fit(*examples(5, 1.0))
        short = Classes(classes.names, classes.mean[:9], classes.scale[:9], classes.weights[:9], classes.bias)
        with pytest.raises(ValueError, match="other features"):
            Classes.from_bytes(short.to_bytes())
