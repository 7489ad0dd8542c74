"""What crosses the queue."""

import time
from math import inf

import pytest

from maskloop.dispatch.jobs import Cancelled, Replaced, Ticket, WorkerLost, pack_error, pack_value, unpack
from maskloop.dispatch.queues import QueueName, Serializer
from maskloop.errors import BadLabelConfig, DeadlineExceeded, ImageRefused, MaskloopError, QueueFull


@pytest.mark.parametrize(
    "kind", [MaskloopError, ImageRefused, BadLabelConfig, DeadlineExceeded, QueueFull, Replaced, Cancelled, WorkerLost]
)
def test_an_error_is_raised_again_as_the_same_class(kind: type[MaskloopError]) -> None:
    crossed = Serializer.loads(Serializer.dumps(pack_error(kind("What is wrong.", "What to do."))))
    with pytest.raises(kind) as caught:
        unpack(crossed)
    assert type(caught.value) is kind
    assert (caught.value.message, caught.value.hint) == ("What is wrong.", "What to do.")


def test_an_error_of_an_unknown_code_keeps_its_message() -> None:
    with pytest.raises(MaskloopError, match="new in the next version"):
        unpack({"error": {"code": "unheard_of", "message": "new in the next version", "hint": ""}})


@pytest.mark.parametrize("value", [None, 0, "", [], {"results": [{"score": 0.5, "rle": [1, 2]}]}])
def test_a_value_comes_out_as_it_went_in(value: object) -> None:
    assert unpack(Serializer.loads(Serializer.dumps(pack_value(value)))) == value


def test_a_ticket_without_a_deadline_never_ends() -> None:
    assert Ticket("a", QueueName.TRAIN).remaining() == inf
    assert Ticket("a", QueueName.TRAIN, time.time() - 1).remaining() < 0
