import numpy as np
import pytest

from maskloop.sam.crops import crops, point_grid, tiles
from maskloop.sam.values import ImageSize


def test_the_grid_is_the_centres_of_cells_in_row_order() -> None:
    assert point_grid(1).tolist() == [[0.5, 0.5]]
    assert point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]


@pytest.mark.parametrize("size", [ImageSize(426, 640), ImageSize(1500, 1000), ImageSize(37, 53)])
def test_each_layer_of_crops_covers_the_image(size: ImageSize) -> None:
    found = list(crops(size, 2, 512 / 1500))
    assert [crop.layer for crop in found] == [1] * 4 + [2] * 16
    for layer in (1, 2):
        seen = np.zeros(size, int)
        for crop in found:
            if crop.layer == layer:
                seen[crop.y0 : crop.y1, crop.x0 : crop.x1] += 1
                assert crop.size == (crop.y1 - crop.y0, crop.x1 - crop.x0)
        assert seen.min() >= 1
        assert seen.max() == 4, "neighbours overlap"


def test_quarters_are_those_of_the_official_generator() -> None:
    assert [crop[:4] for crop in crops(ImageSize(426, 640), 1, 512 / 1500)] == [
        (0, 0, 393, 286),
        (0, 141, 393, 426),
        (248, 0, 640, 286),
        (248, 141, 640, 426),
    ]


@pytest.mark.parametrize("size", [ImageSize(3000, 4000), ImageSize(1537, 400), ImageSize(1600, 1600)])
def test_tiles_are_squares_that_cover_a_large_image_and_overlap(size: ImageSize) -> None:
    found = list(tiles(size, 1024, 0.25))
    seen = np.zeros(size, bool)
    for tile in found:
        assert tile.layer == 1
        assert tile.size == (min(1024, size.height), min(1024, size.width))
        seen[tile.y0 : tile.y1, tile.x0 : tile.x1] = True
    assert seen.all()
    for starts in ({tile.x0 for tile in found}, {tile.y0 for tile in found}):
        assert np.diff(sorted(starts)).max(initial=0) <= 1024 * 0.75 + 1


def test_an_image_that_is_hardly_larger_than_a_tile_has_none() -> None:
    assert not list(tiles(ImageSize(1024, 1536), 1024, 0.25))
