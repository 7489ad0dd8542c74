"""The benchmark's table: fair turns, honest ratios."""

import json

from rich.console import Console

from maskloop.bench.machine import Machine
from maskloop.bench.rows import Row, as_table, in_turns


def test_both_sides_are_measured_in_turns_and_the_first_of_each_warms_up() -> None:
    order: list[str] = []
    ours, theirs = iter([100.0, 1.0, 2.0, 3.0]), iter([100.0, 10.0, 20.0, 30.0])

    def one() -> float:
        order.append("ours")
        return next(ours)

    def other() -> float:
        order.append("theirs")
        return next(theirs)

    assert in_turns(one, other, times=3) == (2.0, 20.0)
    assert order == ["ours", "theirs"] * 4


def test_without_a_reference_there_is_no_ratio() -> None:
    ours, theirs = in_turns(lambda: 4.0, None, times=2)
    assert (ours, theirs, Row("encode", ours, theirs).ratio) == (4.0, None, None)


def test_the_ratio_says_how_many_times_faster_ours_is() -> None:
    row = Row("encode", ours_ms=100, reference_ms=500, limit_ms=50)
    assert json.loads(json.dumps(row.as_json())) == {
        "name": "encode", "ours_ms": 100, "reference_ms": 500, "limit_ms": 50, "ratio": 5, "note": "",
    }  # fmt: skip
    console = Console(width=120)
    with console.capture() as printed:
        console.print(as_table([row]))
    assert "5.00x" in printed.get()


def test_the_limit_is_the_scarcer_of_arithmetic_and_memory() -> None:
    machine = Machine("cpu", 2, operations=1e9, precision="fp32", bandwidth=1e9)
    assert machine.limit_ms(operations=2e6, moved=1e6) == 2
    assert machine.limit_ms(operations=1e6, moved=3e6) == 3
