"""The log of every process."""

from __future__ import annotations

import logging
import sys

import pytest

from maskloop.cli.logs import OneLine

FORMAT = "%(levelname)s %(message)s"


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ("/photos/a\n2026-11-22 CRITICAL owned", "WARNING /photos/a\\n2026-11-22 CRITICAL owned"),
        ("\x1b[2J\r\x9b", "WARNING \\x1b[2J\\r\\x9b"),
        ("\u202egnp.exe\u2028\ud83d", "WARNING \\u202egnp.exe\\u2028\\ud83d"),
        ("Größe 写真.png", "WARNING Größe 写真.png"),
    ],
)
def test_what_others_sent_stays_in_its_line_and_steers_no_terminal(told: str, line: str) -> None:
    record = logging.LogRecord("a", logging.WARNING, "", 0, "%s", (told,), None)
    assert OneLine(FORMAT).format(record) == line


def test_a_traceback_keeps_its_lines() -> None:
    try:
        int("none")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 0, "It failed.", (), sys.exc_info())
    first, second, *_, last = OneLine(FORMAT).format(record).splitlines()
    assert (first, second) == ("ERROR It failed.", "Traceback (most recent call last):")
    assert last.startswith("ValueError: ")
