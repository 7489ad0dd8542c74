"""Everything in an image: a grid of clicks, the good masks among their answers, no duplicates.

The method and the names of the parameters are those of Segment Anything's automatic generator,
https://arxiv.org/abs/2304.02643, section 5 and appendix B; ``AutomaticSettings.official()`` gives its masks, and on
small photos some whose stability is near the threshold. The time goes elsewhere:

* points are asked from coarse to fine, and those whose answer can be foreseen are spared (``coverage``);
* a mask is judged by its predicted score first, then by stability and box in the encoder's 1024 square, around the
  object only; the image's own size is left to the masks that stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from maskloop.geometry import boxes, masks
from maskloop.sam.coverage import Coverage, coarse_to_fine
from maskloop.sam.crops import Crop, crops, point_grid, tiles
from maskloop.sam.masks import THRESHOLD, stability_score, upscale
from maskloop.sam.nesting import Granularity, choose
from maskloop.sam.preprocess import resized, to_square_points
from maskloop.sam.proposals import Proposals
from maskloop.sam.protocols import Decoder, EncoderDecoder
from maskloop.sam.values import IMAGE_SIDE, LOGITS_SIDE, Embedding, Image, ImageSize, Mask, Prompt

STEP = IMAGE_SIDE // LOGITS_SIDE
"""Pixels of the square for one of the logits."""
BATCH = 64
"""Prompts decoded at once."""
CROP_EDGE = 20.0
"""A box within so many pixels of its crop's edge is cut off, unless the image ends there too."""


@dataclass(frozen=True, slots=True)
class AutomaticSettings:
    """Parameters of the generator; thresholds are from 0 to 1. Those above the line are the official generator's.

    points_per_side: of the grid of clicks.
    pred_iou_thresh: masks of a lower predicted score are dropped.
    stability_score_thresh, stability_score_offset: and those that change more when the logits' threshold moves.
    box_nms_thresh: and those whose box has this IoU with that of a better one.
    crop_n_layers: 1 looks again at the four quarters of the image, 2 at the sixteenths too, and so on.
    crop_nms_thresh: like ``box_nms_thresh``, for masks of different crops or tiles.
    crop_overlap_ratio: how far neighbouring crops overlap, of the image's shorter side; tiles, of their own side.
    crop_n_points_downscale_factor: each layer has so many times fewer points a side in each crop.
    min_mask_region_area: holes and islands of fewer pixels are filled and removed.
    ---
    tile_side: images more than 1.5 times as long are looked at in tiles of this side too, pixels; 0: never. Small
        objects of large images need it; the time grows with the number of tiles. Takes the place of crops.
    reach: a point is spared if one within so many cells of the grid stands for it; 0 asks all. See ``Coverage``.
    likeness: how much the encoder must see the two alike, cosine.
    granularity: ``all`` masks, or of nested ones the ``whole`` objects or the ``parts``.
    max_masks: the most masks of one image, those with the best scores; None for all.
    """

    points_per_side: int = 32
    pred_iou_thresh: float = 0.85
    stability_score_thresh: float = 0.90
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    min_mask_region_area: int = 0
    tile_side: int = 0
    reach: int = 4
    likeness: float = 0.5
    granularity: Granularity = "all"
    max_masks: int | None = None

    def __post_init__(self) -> None:
        least = {"points_per_side": 1, "crop_n_points_downscale_factor": 1, "max_masks": 1}
        for name in (*least, "crop_n_layers", "min_mask_region_area", "tile_side", "reach"):
            value = getattr(self, name)
            if value is not None and value < least.get(name, 0):
                raise ValueError(f"{name} must be at least {least.get(name, 0)}, not {value}")
        if not 0 <= self.crop_overlap_ratio < 1:
            raise ValueError(f"crop_overlap_ratio must be from 0 to under 1, not {self.crop_overlap_ratio}")

    @classmethod
    def official(cls, **changes: Any) -> Self:
        """The official generator's defaults, tuned for a larger network, and nothing spared."""
        return cls(**{"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95, "reach": 0, **changes})

    @property
    def needs_image(self) -> bool:
        """Whether an embedding of the whole image is not enough."""
        return bool(self.crop_n_layers or self.tile_side)


def propose(
    network: EncoderDecoder, embedding: Embedding, settings: AutomaticSettings, image: Image | None = None
) -> Proposals:
    """The masks of all objects in an image, best score first; large images need memory for one mask at a time.

    embedding: of the whole image. image: its pixels, which crops and tiles are taken from; see ``needs_image``.
    """
    size = embedding.size
    found = _find(network, embedding, Crop(0, 0, size.width, size.height, 0), size, settings)
    if image is not None and (parts := _parts(size, settings)):
        for part in parts:
            (seen,) = network.encode([np.ascontiguousarray(image[part.y0 : part.y1, part.x0 : part.x1])])
            found += _find(network, seen, part, size, settings)
        smallest_first = [-float(candidate.crop.size.width * candidate.crop.size.height) for candidate in found]
        found = _without_duplicates(found, smallest_first, settings.crop_nms_thresh)
    return _finish(found, size, settings)


def _parts(size: ImageSize, settings: AutomaticSettings) -> list[Crop]:
    """What is looked at besides the whole image."""
    if settings.tile_side:
        return list(tiles(size, settings.tile_side, settings.crop_overlap_ratio))
    return list(crops(size, settings.crop_n_layers, settings.crop_overlap_ratio))


class Candidate(NamedTuple):
    """One of the decoder's masks that may be an object.

    logits: float32 (256, 256), of its crop. score: predicted. box: float32 (4,), in pixels of the image.
    """

    logits: NDArray[np.float32]
    score: float
    box: NDArray[np.float32]
    crop: Crop


def _find(
    decoder: Decoder, embedding: Embedding, crop: Crop, image: ImageSize, settings: AutomaticSettings
) -> list[Candidate]:
    """What one crop gives, without duplicates, best score first."""
    per_side = max(settings.points_per_side // settings.crop_n_points_downscale_factor**crop.layer, 1)
    points = point_grid(per_side) * np.array([crop.size.width, crop.size.height], np.float32)
    coverage = Coverage(embedding, points, per_side, settings.reach, settings.likeness)
    rounds = coarse_to_fine(per_side) if settings.reach else [np.arange(len(points))]
    found: list[Candidate] = []
    known: list[NDArray[np.float32]] = []
    for candidates in rounds:
        for batch in _batches(coverage.open(candidates)):
            for candidate in _judged(decoder, embedding, points[batch], crop, settings):
                found.append(candidate)
                if not (boxes.iou(candidate.box, known) > settings.box_nms_thresh).any():
                    known.append(candidate.box)
                    coverage.add(_at(candidate.logits, points, crop.size))
    whole = [candidate for candidate in found if not _is_cut_off(candidate.box, crop, image)]
    return _without_duplicates(whole, [candidate.score for candidate in whole], settings.box_nms_thresh)


def _batches(points: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    return (points[start : start + BATCH] for start in range(0, len(points), BATCH))


def _at(logits: NDArray[np.float32], points: NDArray[np.float32], size: ImageSize) -> NDArray[np.bool_]:
    """Which points, in pixels of what was encoded, lie on the mask."""
    x, y = (to_square_points(points, size).T / STEP).astype(int).clip(0, LOGITS_SIDE - 1)
    under: NDArray[np.bool_] = logits[y, x] > THRESHOLD
    return under


def _judged(
    decoder: Decoder, embedding: Embedding, points: NDArray[np.float32], crop: Crop, settings: AutomaticSettings
) -> Iterator[Candidate]:
    """The masks for clicks at these points that pass the thresholds."""
    clicks = [Prompt(point[None], np.ones(1, np.int8)) for point in points]
    for answer in decoder.decode(embedding, clicks, multimask=True):
        for logits, score in zip(answer.logits, answer.scores, strict=True):
            if score <= settings.pred_iou_thresh:
                continue
            outline = _outline(logits, crop.size, settings.stability_score_offset)
            if outline.box is not None and outline.stability >= settings.stability_score_thresh:
                box = outline.box + np.array([crop.x0, crop.y0, crop.x0, crop.y0], np.float32)
                yield Candidate(logits.copy(), float(score), box, crop)


class Outline(NamedTuple):
    """Stability of a mask, and its box in pixels of what was encoded; None if the mask is empty."""

    stability: float
    box: NDArray[np.float32] | None


def _outline(logits: NDArray[np.float32], size: ImageSize, offset: float) -> Outline:
    """Measured in the 1024 square, where the logits' own 256 are too coarse, and only around the object."""
    height, width = resized(size)
    visible = logits[: -(-height // STEP), : -(-width // STEP)]
    x0, y0, x1, y1 = boxes.of_mask(visible > -offset)
    x0, y0 = max(x0 - 2, 0), max(y0 - 2, 0)
    around = visible[y0 : y1 + 2, x0 : x1 + 2]
    rows, columns = around.shape
    upscaled = cv2.resize(around, (columns * STEP, rows * STEP), interpolation=cv2.INTER_LINEAR)
    fine = np.asarray(upscaled, np.float32)[: height - y0 * STEP, : width - x0 * STEP]
    box = np.array(boxes.of_mask(fine > 0), np.float32)
    if not box.any():
        return Outline(0.0, None)
    scale = np.array([size.width / width, size.height / height] * 2, np.float32)
    box += np.array([x0 * STEP, y0 * STEP] * 2, np.float32)
    return Outline(float(stability_score(fine, offset)), box * scale)


def _is_cut_off(box: NDArray[np.float32], crop: Crop, image: ImageSize) -> bool:
    near_crop = np.abs(box - np.array(crop[:4])) <= CROP_EDGE
    near_image = np.abs(box - np.array([0, 0, image.width, image.height])) <= CROP_EDGE
    return bool((near_crop & ~near_image).any())


def _without_duplicates(found: list[Candidate], ranks: list[float], threshold: float) -> list[Candidate]:
    kept = boxes.nms([candidate.box for candidate in found], ranks, threshold)
    return [found[index] for index in kept]


def _finish(found: list[Candidate], size: ImageSize, settings: AutomaticSettings) -> Proposals:
    """Masks at the image's size, small holes and islands cleared."""
    best = sorted(found, key=lambda candidate: -candidate.score)
    if settings.granularity == "all":
        best = best[: settings.max_masks]
    proposals = Proposals.of((_mask(candidate, size) for candidate in best), size)
    if settings.min_mask_region_area:
        threshold = max(settings.box_nms_thresh, settings.crop_nms_thresh)
        proposals = _cleared(proposals, settings.min_mask_region_area, threshold)
    wanted = choose(proposals, settings.granularity)
    return wanted.chosen(range(len(wanted))[: settings.max_masks])


def _mask(candidate: Candidate, size: ImageSize) -> Mask:
    crop = candidate.crop
    pixels = upscale(candidate.logits, crop.size)
    if crop.size != size:
        whole = np.zeros(size, bool)
        whole[crop.y0 : crop.y1, crop.x0 : crop.x1] = pixels
        pixels = whole
    return Mask(pixels, candidate.score)


def _cleared(proposals: Proposals, area: int, threshold: float) -> Proposals:
    """Masks without holes and islands under ``area`` pixels; of duplicates the one stays that needed no change."""
    whole: list[float] = []

    def clear() -> Iterator[Mask]:
        for mask in proposals:
            pixels = masks.without_small_regions(mask.pixels, area)
            whole.append(float(np.array_equal(pixels, mask.pixels)))
            yield Mask(pixels, mask.score)

    cleared = Proposals.of(clear(), proposals.size)
    return cleared.chosen(np.sort(boxes.nms(cleared.boxes, whole, threshold)))
