"""What a version's scores are worth before people judged its masks: told by objects that they outlined and no version
learned from. A mask that covers one of them well is taken to be accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskloop.evaluation.coco import GroundTruth
from maskloop.evaluation.prompted import box, click
from maskloop.geometry import coco_rle, masks
from maskloop.learning.acceptance import Judgement, of_judgements
from maskloop.learning.calibration import Chances
from maskloop.sam.automatic import AutomaticSettings, propose
from maskloop.sam.interactive import best_candidate
from maskloop.sam.masks import upscale
from maskloop.sam.protocols import Decoder, EncoderDecoder
from maskloop.sam.values import Embedding

ACCEPTED = 0.8
"""IoU with an object from which a mask of it is taken to be accepted."""
AUTOMATIC = AutomaticSettings(points_per_side=8)
AUTOMATIC_PHOTOS = 16
"""Photos that are looked at for automatic masks: each takes seconds."""


def of_objects(network: EncoderDecoder, photos: Sequence[tuple[Embedding, Sequence[GroundTruth]]]) -> Chances:
    """From a click and a box on each object of photos that the version didn't learn from, and from automatic masks."""
    prompted = (one for embedding, objects in photos for one in prompted_on(network, embedding, objects))
    automatic = (
        one
        for embedding, objects in photos[:AUTOMATIC_PHOTOS]
        for one in automatic_on(network, embedding, objects, AUTOMATIC)
    )
    return of_judgements([*prompted, *automatic])


def prompted_on(decoder: Decoder, embedding: Embedding, objects: Sequence[GroundTruth]) -> Iterator[Judgement]:
    """What a person would say of the masks for a click and a box on each object."""
    clicked = map(best_candidate, decoder.decode(embedding, [click(one) for one in objects], multimask=True))
    boxed = decoder.decode(embedding, [box(one) for one in objects], multimask=False)
    for one, *answers in zip(objects, clicked, boxed, strict=True):
        for found in answers:
            overlap = masks.iou(upscale(found.logits[0], found.size), one.mask)
            yield Judgement(shown(float(found.scores[0])), overlap >= ACCEPTED, prompted=True)


def automatic_on(
    network: EncoderDecoder, embedding: Embedding, objects: Sequence[GroundTruth], settings: AutomaticSettings
) -> Iterator[Judgement]:
    """What a person would say of the automatic masks of a photo."""
    proposals = list(propose(network, embedding, settings))
    overlaps = coco_rle.ious([coco_rle.encode(mask.pixels) for mask in proposals], [one.rle for one in objects])
    for mask, overlap in zip(proposals, overlaps.max(axis=1, initial=0.0), strict=True):
        yield Judgement(shown(mask.score), bool(overlap >= ACCEPTED), prompted=False)


def shown(score: float) -> float:
    """A score as regions carry it."""
    return min(max(score, 0.0), 1.0)
