"""A person sees how each step ended, and why it failed."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from maskloop.demo.steps import Steps
from maskloop.errors import MaskloopError


@pytest.fixture
def out() -> StringIO:
    return StringIO()


@pytest.fixture
def steps(out: StringIO) -> Steps:
    return Steps(Console(file=out, width=40))


def test_a_step_that_holds_is_one_line_with_its_last_detail(steps: Steps, out: StringIO) -> None:
    with steps.step("Photos pre-annotated") as show:
        show("1 of 5")
        show("5 of 5 [a detail as long as it likes to be]")
    assert out.getvalue().startswith("ok    Photos pre-annotated: 5 of 5 [a detail as long as it likes to be] (")
    assert out.getvalue().count("\n") == 1
    assert steps.failed == 0


def test_a_step_that_fails_says_why_and_ends_the_work(steps: Steps, out: StringIO) -> None:
    with pytest.raises(MaskloopError), steps.step("maskloop started"):
        raise MaskloopError("No worker came up.", "Look at the log.")
    assert out.getvalue() == "FAIL  maskloop started: No worker came up. Look at the log.\n"
    assert steps.failed == 1


def test_an_attempt_that_fails_lets_the_next_one_begin(steps: Steps, out: StringIO) -> None:
    with steps.attempt("A click"):
        raise MaskloopError("No mask.")
    with steps.attempt("A rectangle"):
        pass
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["FAIL", "ok"]
    assert steps.failed == 1
