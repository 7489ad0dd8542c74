import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_studio_sdk.converter import brush

from maskloop.geometry import label_studio_rle as rle

HEADER = [(32, None), (5, 7), (4, 2), (4, 3), (4, 7), (4, 15)]


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Masks of runs as long as they come: every form of the format, and lengths at its borders."""
    value = draw(st.booleans())
    lengths = st.integers(1, 5) | st.integers(60, 70) | st.sampled_from([16384, 16385, 32768, 32769])
    runs = draw(st.lists(lengths, min_size=1, max_size=12))
    flat = np.repeat([value ^ bool(index % 2) for index in range(len(runs))], runs)
    height = draw(st.sampled_from([d for d in (1, 2, 3, 7) if flat.size % d == 0]))
    return flat.reshape(height, -1)


def by_sdk(mask: np.ndarray) -> list[int]:
    return brush.mask2rle(mask.astype(np.uint8) * 255)


def bits(fields: list[tuple[int, int]]) -> bytes:
    text = "".join(f"{value:0{size}b}" for size, value in fields)
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8), "big")


def stream(count: int, *runs: tuple[int, int]) -> bytes:
    return bits([(size, count if value is None else value) for size, value in HEADER] + list(runs))


@given(masks())
@settings(deadline=None)
def test_encoding_gives_the_bytes_of_the_sdk(mask: np.ndarray) -> None:
    assert rle.encode(mask) == by_sdk(mask)


@given(arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))))
@settings(deadline=None)
def test_encoding_noise_gives_the_bytes_of_the_sdk_and_the_mask_comes_back(mask: np.ndarray) -> None:
    coded = rle.encode(mask)
    assert coded == by_sdk(mask)
    assert (rle.decode(coded, *mask.shape) == mask).all()


def test_a_stream_that_fills_its_last_byte_is_followed_by_an_empty_one_as_in_the_sdk() -> None:
    mask = np.zeros((1, 40), bool)
    mask[0, ::5] = True
    lengths = [len(rle.encode(mask[:, :width])) for width in range(1, 41)]
    assert lengths == [len(by_sdk(mask[:, :width])) for width in range(1, 41)]
    filled = [width for width in range(1, 41) if rle.encode(mask[:, :width])[-1] == 0]
    assert filled


def test_masks_that_are_slices_of_larger_ones_are_encoded_alike() -> None:
    large = np.indices((30, 40)).sum(axis=0) % 7 < 3
    assert rle.encode(large[3:20:2, 5::3]) == by_sdk(large[3:20:2, 5::3].copy())


@given(masks())
@settings(deadline=None)
def test_decoding_gives_what_the_sdk_decodes(mask: np.ndarray) -> None:
    coded = by_sdk(mask)
    theirs = brush.decode_rle(coded).reshape(*mask.shape, 4)[..., 3] > 127
    assert (rle.decode(coded, *mask.shape) == theirs).all()
    assert (rle.decode(bytes(coded), *mask.shape) == mask).all()


@given(st.lists(st.integers(0, 255), min_size=8, max_size=8), st.integers(1, 7))
def test_values_one_by_one_as_the_editor_writes_them_are_decoded_as_by_the_sdk(values: list[int], first: int) -> None:
    literals = [
        *[(1, 0), (2, 0), (3, first - 1), *[(8, value) for value in values[:first]]],
        *[(1, 0), (2, 1), (4, 7 - first), *[(8, value) for value in values[first:]]],
    ]
    coded = stream(8, *literals)
    assert rle.decode(coded, 1, 2).tolist() == [[values[3] > 127, values[7] > 127]]
    assert brush.decode_rle(coded).tolist() == values


def test_only_pixels_more_than_half_opaque_count() -> None:
    values = [255, 255, 255, 127, 0, 0, 0, 128]
    coded = stream(8, (1, 0), (2, 0), (3, 7), *[(8, value) for value in values])
    assert rle.decode(coded, 1, 2).tolist() == [[False, True]]


def test_a_mask_of_another_size_is_refused() -> None:
    coded = rle.encode(np.ones((4, 6), bool))
    with pytest.raises(ValueError, match="6 x 5"):
        rle.decode(coded, 5, 6)
    with pytest.raises(ValueError, match="no size"):
        rle.decode(coded, 0, 6)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_damage_is_told_and_never_more_than_the_mask_is_read(garbage: bytes, keep: int) -> None:
    coded = bytes(rle.encode(np.indices((9, 9)).sum(axis=0) % 3 == 0))
    try:
        decoded = rle.decode(coded[:keep] + garbage, 9, 9)
    except ValueError:
        return
    assert decoded.shape == (9, 9)


def test_a_stream_cut_short_is_refused() -> None:
    coded = rle.encode(np.indices((9, 9)).sum(axis=0) % 3 == 0)
    for kept in range(len(coded) - 2):
        with pytest.raises(ValueError, match=r"short|isn't of"):
            rle.decode(coded[:kept], 9, 9)


@pytest.mark.parametrize("bad", [[256] * 20, [-1] * 20, ["a"], 3.5])
def test_what_is_no_list_of_bytes_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match=r"bytes|range"):
        rle.decode(bad, 3, 3)  # type: ignore[arg-type]


def test_a_stream_of_more_pixels_than_it_says_or_of_other_words_is_refused() -> None:
    longer = stream(4, (1, 1), (2, 0), (3, 4), (8, 255))
    with pytest.raises(ValueError, match="more pixels"):
        rle.decode(longer, 1, 1)
    with pytest.raises(ValueError, match="8-bit"):
        rle.decode([*longer[:4], longer[4] | 0x40, *longer[5:]], 1, 1)
