"""Running out of GPU memory makes batches smaller; it neither stops the work nor loses or repeats any."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskloop.engines.batches import Batches


class Full(RuntimeError):
    """There is no room."""


def wants_memory(error: Exception) -> bool:
    return isinstance(error, Full)


class Memory:
    """Holds so many items at once."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken: list[int] = []

    def square(self, items: Sequence[int]) -> list[int]:
        if len(items) > self.room:
            raise Full
        self.taken.append(len(items))
        return [item**2 for item in items]


@given(count=st.integers(0, 60), size=st.integers(1, 40), room=st.integers(1, 40))
def test_every_item_is_worked_on_once_and_in_order(count: int, size: int, room: int) -> None:
    memory = Memory(room)
    assert Batches(size, wants_memory).run(memory.square, range(count)) == [item**2 for item in range(count)]
    assert sum(memory.taken) == count


def test_the_batch_halves_and_grows_again_once_there_is_room() -> None:
    memory, batches = Memory(5), Batches(16, wants_memory)
    batches.run(memory.square, range(16))
    assert memory.taken == [4, 4, 4, 4]
    memory.room = 16
    for _ in range(3):
        batches.run(memory.square, range(16))
    assert memory.taken[4:] == [8, 8, 16, 16]


def test_no_room_for_one_item_is_an_error() -> None:
    with pytest.raises(Full):
        Batches(8, wants_memory).run(Memory(0).square, range(3))


def test_other_errors_pass_through() -> None:
    def fail(items: Sequence[int]) -> list[int]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        Batches(8, wants_memory).run(fail, range(3))
