"""An engine for several threads."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from maskloop.engines.base import Engine
from maskloop.sam.values import Embedding, Image, MaskLogits, Prompt


@dataclass(frozen=True, slots=True)
class _Asked:
    """Prompts of one thread, and what becomes of them."""

    embedding: Embedding
    prompts: Sequence[Prompt]
    multimask: bool
    answer: Future[list[MaskLogits]] = field(default_factory=Future)


class MicroBatching:
    """The engine ``engine``, one call after the other. Prompts that come while it is busy are decoded together once it
    isn't, whatever images they are on, by a thread of its own; nothing waits for others to come."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = threading.RLock()
        self._runner = ThreadPoolExecutor(1, "engine")
        self._waiting: deque[_Asked] = deque()

    @property
    def name(self) -> str:
        return self._engine.name

    @property
    def identity(self) -> str:
        return self._engine.identity

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        with self._turn:
            return self._engine.encode(images)

    def decode(self, embedding: Embedding, prompts: Sequence[Prompt], *, multimask: bool) -> list[MaskLogits]:
        try:  # before it is taken: a job whose time is over is interrupted anywhere
            if not self._waiting and self._turn.acquire(blocking=False):
                return self._engine.decode(embedding, prompts, multimask=multimask)
        finally:
            with suppress(RuntimeError):  # it is another's
                self._turn.release()
        asked = _Asked(embedding, prompts, multimask)
        self._waiting.append(asked)
        self._runner.submit(self._answer_waiting)
        return asked.answer.result()

    def _answer_waiting(self) -> None:
        """Finds nothing left to do if an earlier call took it along."""
        together: dict[bool, list[_Asked]] = defaultdict(list)
        with self._turn:
            while self._waiting:
                asked = self._waiting.popleft()
                together[asked.multimask].append(asked)
            for several in together.values():
                self._answer(several)

    def _answer(self, several: Sequence[_Asked]) -> None:
        embeddings = [asked.embedding for asked in several for _ in asked.prompts]
        prompts = [prompt for asked in several for prompt in asked.prompts]
        try:
            answers = iter(self._engine.decode_each(embeddings, prompts, multimask=several[0].multimask))
        except Exception as error:  # noqa: BLE001 (told to who asked)
            if len(several) == 1:
                several[0].answer.set_exception(error)
            else:
                for asked in several:  # nobody fails for what somebody else asked
                    self._answer([asked])
        else:
            for asked in several:
                asked.answer.set_result([next(answers) for _ in asked.prompts])
