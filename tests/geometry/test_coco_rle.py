"""Masks become COCO's run lengths and masks again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from maskloop.geometry import boxes, coco_rle

MASKS = of_numpy.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12)))


@given(MASKS)
def test_a_mask_comes_back_as_it_was(mask: np.ndarray) -> None:
    rle = coco_rle.encode(mask)
    assert np.array_equal(coco_rle.decode(rle), mask)
    assert coco_rle.area(rle) == mask.sum()
    if mask.any():
        left, top, width, height = coco_rle.box(rle)
        assert np.array_equal([left, top, left + width, top + height], boxes.of_mask(mask))


@given(of_numpy.arrays(np.bool_, (5, 4, 7)), st.integers(0, 5))
def test_every_mask_is_compared_with_every_object(masks: np.ndarray, split: int) -> None:
    found, objects = list(masks[:split]), list(masks[split:])
    ious = coco_rle.ious(*([coco_rle.encode(one) for one in some] for some in (found, objects)))
    assert ious.shape == (len(found), len(objects))
    for row, one in zip(ious, found, strict=True):
        for iou, other in zip(row, objects, strict=True):
            if union := np.count_nonzero(one | other):
                assert np.isclose(iou, np.count_nonzero(one & other) / union)
