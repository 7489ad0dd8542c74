from collections.abc import Callable
from pathlib import Path

import pytest

from maskloop.evaluation.coco import load
from maskloop.evaluation.measure import evaluate
from maskloop.evaluation.prompted import OneBox, OneClick, box, click, segment_with

Write = Callable[..., tuple[Path, Path]]


def test_a_click_is_the_deepest_point_and_a_box_the_annotated_one(write_dataset: Write) -> None:
    (photo,) = load(*write_dataset())
    square, wide = photo.objects
    assert click(square).points.tolist() == [[29, 27]]
    assert click(wide).points.tolist() == [[74, 74]]
    assert box(wide).box.tolist() == [60, 60, 120, 90]


def test_best_score_oracle_and_box(write_dataset: Write, shapes: Callable) -> None:
    photos = load(*write_dataset())
    network = shapes(favourite=1)
    figures = evaluate(network, photos, [OneClick(segment_with(network)), OneBox(segment_with(network))])
    assert figures["photos"] == 1
    assert figures["objects"] == 2
    assert figures["click_best_score"] == pytest.approx(0.5, abs=0.03), "the left halves"
    assert figures["click_oracle"] == pytest.approx(1, abs=0.03)
    assert figures["box"] == pytest.approx(1, abs=0.03)


def test_figures_of_references_have_names_of_their_own(write_dataset: Write, shapes: Callable) -> None:
    photos = load(*write_dataset())
    ours, theirs = shapes(0), shapes(1)
    figures = evaluate(ours, photos, [OneClick(segment_with(ours))], [OneClick(segment_with(theirs))])
    assert figures["click_best_score"] > 0.9 > figures["reference_click_best_score"]
