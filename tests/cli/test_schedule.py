"""The times of a cron line."""

from datetime import UTC, datetime

import pytest

from maskloop.cli.schedule import times
from maskloop.errors import BadRequest

NOW = datetime(2026, 11, 21, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "seconds"), [("0 3 * * *", 4.5 * 3600), ("*/15 * * * *", 900), ("30 22 * * *", 24 * 3600)]
)
def test_it_tells_how_long_it_is_to_the_next_time(line: str, seconds: float) -> None:
    assert times(line, lambda: NOW)() == seconds


@pytest.mark.parametrize("line", ["", "daily", "0 3 * *", "61 * * * *"])
def test_what_is_no_cron_line_is_refused(line: str) -> None:
    with pytest.raises(BadRequest, match="no cron line"):
        times(line, lambda: NOW)
