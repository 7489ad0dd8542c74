"""Further clicks on the same object."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from maskloop.inference.recent import Recent
from maskloop.sam.interactive import answer
from maskloop.sam.protocols import Decoder
from maskloop.sam.values import Embedding, MaskLogits, Prompt

CAPACITY = 64
"""Answers kept, of 256 KiB each."""


class Refinement:
    """Answers a row of prompts on one object, each with the logits of the answer before. Usable by several threads.

    Label Studio sends all prompts again with each new one. The latest answers are kept, so that a further click costs
    one decoding, not one for each click so far.
    """

    def __init__(self) -> None:
        self._answers: Recent[MaskLogits] = Recent(CAPACITY)

    def answer(self, decoder: Decoder, embedding: Embedding, identity: str, steps: Sequence[Prompt]) -> MaskLogits:
        """The answer to the last step. ``identity``: of the embedding; the decoder is always one.

        Raises ValueError without a step.
        """
        keys = list(_keys(identity, steps))
        done, found = self._longest(keys)
        for key, step in zip(keys[done:], steps[done:], strict=True):
            (found,) = answer(decoder, embedding, [replace(step, mask_logits=found.logits[0] if found else None)])
            self._answers.put(key, MaskLogits(found.logits.copy(), found.scores, found.size))
        if found is None:
            raise ValueError("an object needs a prompt")
        return found

    def _longest(self, keys: Sequence[str]) -> tuple[int, MaskLogits | None]:
        """How many of the first steps are answered already, and that answer."""
        for count in range(len(keys), 0, -1):
            if known := self._answers.get(keys[count - 1]):
                return count, known
        return 0, None


def _keys(identity: str, steps: Sequence[Prompt]) -> Iterator[str]:
    """For each step, of it and all before."""
    state = hashlib.sha256(identity.encode())
    for step in steps:
        box = b"" if step.box is None else step.box.tobytes()
        for part in (step.points.tobytes(), step.labels.tobytes(), box):
            state.update(len(part).to_bytes(4, "big") + part)
        yield state.hexdigest()
