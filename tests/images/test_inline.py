"""Images inside the reference itself."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.errors import ImageUnreadable
from maskloop.images.inline import read_data_uri


@given(st.binary(max_size=200))
def test_base64_and_percent_encoding_give_the_bytes(data: bytes) -> None:
    assert read_data_uri(f"data:image/png;base64,{base64.b64encode(data).decode()}", 200) == data
    assert read_data_uri("data:," + "".join(f"%{byte:02x}" for byte in data), 200) == data


def test_percent_encoded_base64_is_read_too() -> None:
    assert read_data_uri("data:image/png;base64,%2B%2B%2B%2B", 100) == base64.b64decode("++++")


@pytest.mark.parametrize("uri", ["data:", "data:image/png;base64", "data:image/png;base64,a", "data:;base64,????"])
def test_a_malformed_one_is_unreadable(uri: str) -> None:
    with pytest.raises(ImageUnreadable, match="data: URI"):
        read_data_uri(uri, 100)


@pytest.mark.parametrize("uri", ["data:,123456", "data:;base64,MTIzNDU2", "data:;base64," + "A" * 1000])
def test_one_over_the_limit_is_unreadable(uri: str) -> None:
    with pytest.raises(ImageUnreadable, match="MASKLOOP_MAX_IMAGE_BYTES"):
        read_data_uri(uri, 5)
