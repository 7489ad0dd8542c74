"""The memory tier is exact: a bound in bytes, and the least recently used out first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maskloop.cache.memory import MemoryStore

STEPS = st.lists(st.tuples(st.sampled_from("abcde"), st.none() | st.binary(max_size=12)), max_size=60)


@given(STEPS, st.integers(0, 30))
def test_it_does_what_a_list_in_order_of_use_does(steps: list[tuple[str, bytes | None]], room: int) -> None:
    """A step puts a value, or gets one if the value is None."""
    store = MemoryStore(room)
    model: list[tuple[str, bytes]] = []  # least recently used first
    for key, value in steps:
        found = next((entry for entry in model if entry[0] == key), None)
        if found is not None:
            model.remove(found)
        if value is None:
            assert store.get(key) == (found and found[1])
            model += [found] if found is not None else []
        else:
            store.put(key, value)
            model += [(key, value)] if len(value) <= room else []
            while sum(len(kept) for _, kept in model) > room:
                model.pop(0)
    for key, kept in model:
        assert store.get(key) == kept
