"""Which of the network's masks answers an annotator's prompt. Label Studio's clicks and the evaluation share it."""

from __future__ import annotations

from collections.abc import Sequence

from maskloop.sam.protocols import Decoder
from maskloop.sam.values import Embedding, MaskLogits, Prompt


def answer(decoder: Decoder, embedding: Embedding, prompts: Sequence[Prompt]) -> list[MaskLogits]:
    """One mask for each prompt, in order; a prompt holds all clicks on its object so far.

    A single click may mean the object, a part or a part of that: the best of three masks by predicted score. More
    than a click leaves less in doubt, and gets the network's mask for unambiguous prompts. The answer's logits go
    into the next prompt on the same object as ``Prompt.mask_logits``.
    """
    single = [is_ambiguous(prompt) for prompt in prompts]
    by_kind = {
        ambiguous: iter(decoder.decode(embedding, chosen, multimask=ambiguous))
        for ambiguous in set(single)
        if (chosen := [prompt for prompt, kind in zip(prompts, single, strict=True) if kind is ambiguous])
    }
    return [best_candidate(next(by_kind[ambiguous])) for ambiguous in single]


def is_ambiguous(prompt: Prompt) -> bool:
    """Whether the prompt is one click and no more."""
    return len(prompt.points) == 1 and prompt.box is None and prompt.mask_logits is None


def best_candidate(answer: MaskLogits) -> MaskLogits:
    """The one mask of the highest predicted score."""
    index = int(answer.scores.argmax())
    return MaskLogits(answer.logits[index : index + 1], answer.scores[index : index + 1], answer.size)
