import numpy as np
import pytest

from maskloop.evaluation.coco import load
from maskloop.evaluation.everything import Everything, Found, average_recall, best_ious
from maskloop.evaluation.measure import evaluate
from maskloop.sam.values import Mask


def test_average_recall_counts_thresholds_from_50_to_95() -> None:
    assert average_recall([0.49]) == 0
    assert average_recall([0.5]) == pytest.approx(0.1)
    assert average_recall([0.951, 0.72]) == pytest.approx((1 + 0.5) / 2)


def test_each_object_has_the_mask_that_fits_it_best(write_dataset, shapes) -> None:
    (photo,) = load(*write_dataset())
    exact, half = photo.objects[0].mask, photo.objects[0].mask.copy()
    half[:28] = False
    assert best_ious([Mask(half, 0.9), Mask(exact, 0.8)], photo.objects).tolist() == [1, 0]
    assert best_ious([Mask(half, 0.9)], photo.objects)[0] == pytest.approx(0.5)
    assert best_ious([], photo.objects).tolist() == [0, 0]


def test_the_figures_are_means_over_objects_and_photos(write_dataset, shapes) -> None:
    photos = load(*write_dataset()) * 2
    answers = iter([Found([Mask(photos[0].objects[0].mask, 0.9)], 3.0), Found([], 1.0)])
    figures = evaluate(shapes(), photos, [Everything(lambda sample: next(answers))])
    assert figures["ar"] == pytest.approx(1 / 4)
    assert figures["masks_per_image"] == 0.5
    assert figures["seconds_per_image"] == 2.0
    assert np.isfinite(list(figures.values())).all()
