"""What one lesson wants of the network: its loss.

One decoder learns from first clicks, another, a copy of it at first, from boxes and from further clicks, as they pull
one decoder to and fro. Of a click's three masks the one that came closest learns the person's mask, and all do as far
as the model would choose them; the others are held to what the official model says (distillation), so that an ambiguous
click keeps three different answers. The score head learns the IoU that each mask really had, and to put the best one
first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from maskloop.engines.runtime import has_bf16
from maskloop.learning.clicks import correction, drawn_box, first_click
from maskloop.learning.lessons import Lesson
from maskloop.learning.losses import divergence, mask_loss, true_iou
from maskloop.learning.samples import Sample, Target
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.decoder import MaskDecoder
from maskloop.sam.network import MobileSam
from maskloop.sam.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NOT_A_POINT, ON_OBJECT


class Prompts(NamedTuple):
    """For N objects: points (N, P, 2) and kinds (N, P) as the network takes them, earlier logits (N, 256, 256)."""

    points: NDArray[np.float32]
    kinds: NDArray[np.int64]
    masks: Tensor | None


class View(NamedTuple):
    """One lesson's photo. features, and before, those before training: (4096, 256); inside: (256, 256); targets:
    (N, 256, 256), between 0 and 1."""

    features: Tensor
    before: Tensor
    inside: Tensor
    targets: Tensor

    def of(self, which: Tensor) -> View:
        """The same photo, and some of its objects: bool (N,)."""
        return self._replace(targets=self.targets[which])


class Objective:
    """Of one training: ``model`` learns, and is held to ``official``."""

    def __init__(
        self, model: MobileSam, official: MaskDecoder, settings: TrainingSettings, device: torch.device
    ) -> None:
        self.model, self.settings, self.device = model, settings, device
        self.dtype = precision(settings.precision, device)
        with torch.no_grad():
            self.grid = model.prompt_encoder.grid().to(self.dtype)
            self.official = parameters(official, self.dtype)

    def loss(self, lesson: Lesson, chance: np.random.Generator) -> Tensor:
        """Sum over the lesson's objects."""
        sample, targets = lesson
        masks = self.here(np.stack([target.mask() for target in targets]))
        before = sample.features().to(self.device)
        now = self.encoded(sample) if self.settings.adapter_rank else before
        view = View(now, before, sample.inside().to(self.device), masks)
        refining = chance.random() < self.settings.refining_share
        return (self.refining_loss if refining else self.first_loss)(view, targets, chance)

    def encoded(self, sample: Sample) -> Tensor:
        """Features (4096, 256) of the encoder as it is now."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.dtype is torch.bfloat16):
            seen: Tensor = self.model.image_encoder(sample.square().to(self.device))
        return seen[0].flatten(1).T.float()

    def first_loss(self, view: View, targets: Sequence[Target], chance: np.random.Generator) -> Tensor:
        """Of one click or a box on each object."""
        boxed = chance.random(len(targets)) < self.settings.box_share
        losses = [
            loss(view.of(self.here(chosen)), list(compress(targets, chosen)), chance)
            for loss, chosen in ((self.box_loss, boxed), (self.click_loss, ~boxed))
            if chosen.any()
        ]
        return torch.stack(losses).sum()

    def box_loss(self, view: View, targets: Sequence[Target], chance: np.random.Generator) -> Tensor:
        points = np.stack([drawn_box(target.places, chance) for target in targets])
        kinds = np.tile(np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]), (len(targets), 1))
        decoder = parameters(self.model.decoder(multimask=False), self.dtype)
        return self.single_loss(*self.decode(decoder, view, Prompts(points, kinds, None)), view)

    def click_loss(self, view: View, targets: Sequence[Target], chance: np.random.Generator) -> Tensor:
        points = np.stack([first_click(target.places, chance) for target in targets])[:, None]
        prompts = closed(points, np.full((len(targets), 1), ON_OBJECT), None)
        logits, scores = self.decode(parameters(self.model.decoder(multimask=True), self.dtype), view, prompts)
        loss = self.ambiguous_loss(logits[:, 1:], scores[:, 1:], view)
        if chance.random() < self.settings.distilling_share:
            with torch.no_grad():
                official, _ = self.decode(self.official, view._replace(features=view.before), prompts)
            loss = loss + self.distillation_loss(logits[:, 1:], official[:, 1:], view)
        return loss

    def single_loss(self, logits: Tensor, scores: Tensor, view: View) -> Tensor:
        """Of the mask for prompts without ambiguity, which is the first of four."""
        error = scores[:, 0] - true_iou(logits[:, :1], view.targets, view.inside)[:, 0]
        return mask_loss(logits[:, :1], view.targets, view.inside).sum() + (error**2).sum()

    def ambiguous_loss(self, logits: Tensor, scores: Tensor, view: View) -> Tensor:
        """Of the three masks for one click."""
        losses, ious = mask_loss(logits, view.targets, view.inside), true_iou(logits, view.targets, view.inside)
        chosen = (scores / self.settings.temperature).softmax(1)
        nearest = F.one_hot(losses.argmin(1), losses.shape[1])
        regret = ious.max(1, keepdim=True).values - ious
        loss = ((nearest + chosen.detach()) * losses).sum() + ((scores - ious) ** 2).sum()
        return loss + self.settings.choice_weight * (chosen * regret).sum()

    def distillation_loss(self, logits: Tensor, official: Tensor, view: View) -> Tensor:
        """Of the three masks' distance to the official ones, but for the one nearest to the person's."""
        nearest = F.one_hot(mask_loss(logits.detach(), view.targets, view.inside).argmin(1), logits.shape[1])
        drift = divergence(logits, official, view.inside) * (1 - nearest)
        return self.settings.distillation_weight * drift.sum()

    def refining_loss(self, view: View, targets: Sequence[Target], chance: np.random.Generator) -> Tensor:
        """Of the last of several clicks on each object, each where the mask before was most wrong."""
        points: NDArray[np.float32] = np.stack([first_click(target.places, chance) for target in targets])[:, None]
        kinds: NDArray[np.int64] = np.full((len(targets), 1), ON_OBJECT, np.int64)
        first, further = (parameters(self.model.decoder(multimask=many), self.dtype) for many in (True, False))
        with torch.no_grad():
            logits, scores = self.decode(first, view, closed(points, kinds, None))
        masks = torch.stack([of[1 + one] for of, one in zip(logits, scores[:, 1:].argmax(1), strict=True)])
        truths = (view.targets > 0.5).numpy(force=True)
        for left in reversed(range(int(chance.integers(1, self.settings.most_clicks)))):
            given = ((masks > 0) & (view.inside > 0.5)).numpy(force=True)
            found = [
                correction(truth, mask, chance) or (first_click(target.places, chance), ON_OBJECT)
                for truth, mask, target in zip(truths, given, targets, strict=True)
            ]
            points = np.concatenate([points, np.stack([point for point, _ in found])[:, None]], axis=1)
            kinds = np.concatenate([kinds, np.array([[kind] for _, kind in found], np.int64)], axis=1)
            with torch.set_grad_enabled(not left):
                logits, scores = self.decode(further, view, closed(points, kinds, masks))
            masks = logits[:, 0]
        return self.single_loss(logits, scores, view)

    def decode(self, decoder: Mapping[str, Tensor], view: View, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Logits (N, 4, 256, 256) and scores (N, 4), float32, that a decoder's parameters give."""
        encoder = self.model.prompt_encoder
        pixels = (view.features[None] + encoder.embed_masks(prompts.masks)).to(self.dtype)
        points = encoder.embed_points(self.here(prompts.points), self.here(prompts.kinds)).to(self.dtype)
        logits, scores = functional_call(self.model.mask_decoder, dict(decoder), (pixels, self.grid, points))
        return logits.float(), scores.float()

    def here(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.device)


def closed(points: NDArray[np.float32], kinds: NDArray[np.int64], masks: Tensor | None) -> Prompts:
    """Points without a box, followed by the one that is none: see ``sam.prompts``."""
    count = len(points)
    return Prompts(
        np.concatenate([points, np.zeros((count, 1, 2), np.float32)], axis=1),
        np.concatenate([kinds, np.full((count, 1), NOT_A_POINT)], axis=1),
        masks,
    )


def parameters(decoder: MaskDecoder, dtype: torch.dtype) -> dict[str, Tensor]:
    """A decoder's parameters by name, in the precision in which it is computed; gradients go through."""
    return {name: parameter.to(dtype) for name, parameter in decoder.named_parameters()}


def precision(wanted: str, device: torch.device) -> torch.dtype:
    """In which the network is computed; weights, losses and the optimizer are always in float32."""
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else has_bf16()
    return torch.bfloat16 if wanted == "bf16" or (wanted == "auto" and fast) else torch.float32
