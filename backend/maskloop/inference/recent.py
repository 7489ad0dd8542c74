"""Values that took work to make, kept while they are in use."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """The ``count`` values used last, by identity. Usable by several threads at once."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._guard = threading.Lock()

    def get(self, identity: str) -> Value | None:
        with self._guard:
            value = self._values.get(identity)
            if value is not None:
                self._values.move_to_end(identity)
            return value

    def put(self, identity: str, value: Value) -> None:
        with self._guard:
            self._values[identity] = value
            self._values.move_to_end(identity)
            while len(self._values) > self._count:
                self._values.popitem(last=False)
