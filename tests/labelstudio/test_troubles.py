"""What doesn't work in the background is told until it does, with a real Redis."""

from __future__ import annotations

import pytest
from redis import Redis

from maskloop.errors import MaskloopError
from maskloop.labelstudio.troubles import Troubles

DOWN, FULL = MaskloopError("The database is down."), MaskloopError("The disk is full.")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (DOWN, "The database is down."),
        (ExceptionGroup("both", [FULL, DOWN, DOWN]), "The database is down. The disk is full."),
        (KeyError("secret"), "Something failed in the background with KeyError. The log has its details."),
    ],
)
def test_what_fails_is_told_until_it_no_longer_does(redis: Redis, failure: Exception, told: str) -> None:
    troubles = Troubles(redis)
    with pytest.raises(ExceptionGroup), troubles.noting("feedback"):
        raise failure
    assert troubles.all() == {"feedback": told}
    with troubles.noting("feedback"):
        pass
    assert troubles.all() == {}
