"""Teaching the network what a project's people mean by a click.

The encoder stays as it is, so embeddings are computed once and serve every version, and two CPU cores are enough. On a
GPU, low-rank adapters may let it learn too: see ``adapters``. One decoder learns from first clicks, another, a copy of
it at first, from boxes and from further clicks, as they pull one decoder to and fro. Of a click's three masks the one
that came closest learns the person's mask, and all do as far as the model would choose them; the others are held to
what the official model says (distillation), so that an ambiguous click keeps three different answers. The score head
learns the IoU that each mask really had, and to put the best one first.

Each step's chance depends on the seed and the step's number alone: a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from maskloop.engines.runtime import has_bf16
from maskloop.errors import MaskloopError
from maskloop.files import replacing
from maskloop.learning.adapters import adapt, merge
from maskloop.learning.clicks import correction, drawn_box, first_click
from maskloop.learning.losses import divergence, mask_loss, true_iou
from maskloop.learning.samples import Sample, Target
from maskloop.sam.decoder import MaskDecoder
from maskloop.sam.network import MobileSam
from maskloop.sam.prompts import BOX_BOTTOM_RIGHT, BOX_TOP_LEFT, NOT_A_POINT, ON_OBJECT


class TrainingSettings(BaseModel):
    """What a version was trained with; kept beside it."""

    model_config = ConfigDict(frozen=True)

    seed: int = 0
    epochs: int = Field(10, gt=0)
    learning_rate: float = Field(1.5e-4, gt=0)
    warmup_steps: int = Field(20, ge=0)
    prompts_per_step: int = Field(16, gt=0)
    """At least, from several photos: the objects of one alone pull the model to and fro."""
    average: float = Field(0.97, ge=0, lt=1)
    """Of the weights over the steps (exponential)."""
    official_share: float = Field(0.25, ge=0, le=1)
    """Of the official weights in the result, https://arxiv.org/abs/2109.01903: what corrections and boxes could before
    stays, for a part of what one click gained."""
    box_share: float = Field(0.2, ge=0, le=1)
    """Prompts that are a box, among first prompts."""
    refining_share: float = Field(0.4, ge=0, le=1)
    """Shares of steps that are about a further click on a mask that isn't right yet."""
    most_clicks: int = Field(12, ge=2)
    """Of which the last is learned from. Taught by at most five, a model needed more of them than the official one."""
    temperature: float = Field(0.1, gt=0)
    """Of scores, when they are read as the chance to be chosen."""
    choice_weight: float = Field(1.0, ge=0)
    distilling_share: float = Field(0.1, ge=0, le=1)
    """Shares of steps on which the official model is asked too."""
    distillation_weight: float = Field(1.0, ge=0)
    views: int = Field(4, ge=1)
    """Looks at each photo: as it is, mirrored, and parts of it; each costs an embedding."""
    adapter_rank: int = Field(0, ge=0)
    """Of adapters on the encoder; 0: it stays as it is. With them, each step encodes its photos and each version has
    embeddings of its own."""
    precision: str = Field("auto", pattern="^(auto|fp32|bf16)$")


class Progress(NamedTuple):
    step: int
    steps: int
    loss: float


class Prompts(NamedTuple):
    """For N objects: points (N, P, 2) and kinds (N, P) as the network takes them, earlier logits (N, 256, 256)."""

    points: NDArray[np.float32]
    kinds: NDArray[np.int64]
    masks: Tensor | None


def train(
    model: MobileSam,
    teacher: MobileSam,
    samples: Sequence[Sequence[Sample]],
    settings: TrainingSettings,
    *,
    device: str = "cpu",
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint: Path | None = None,
) -> MobileSam:
    """The model after training, on the CPU; ``model`` itself is changed and of no more use.

    samples: for each photo one or more views of it (mirrored, cut), of which each epoch takes one.
    on_progress: called after each step; what it raises ends the training.
    checkpoint: where the state is kept so that a killed run can go on; removed by whoever takes the result.
    Raises MaskloopError if the device has too little memory.
    """
    try:
        return _train(
            Run(model, teacher, settings, count_steps(samples, settings), device), samples, on_progress, checkpoint
        )
    except torch.cuda.OutOfMemoryError as error:
        hint = "Free some of it, or train on the CPU: MASKLOOP_ENGINE=torch-cpu, or openvino."
        raise MaskloopError("The GPU has too little memory left to train.", hint) from error
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()


def device_for(engine: str) -> str:
    """Where to train if that is the engine asked for: a GPU that is there is used unless another engine is."""
    return "cuda" if engine in ("auto", "torch-cuda") and torch.cuda.is_available() else "cpu"


def _train(
    run: Run, samples: Sequence[Sequence[Sample]], on_progress: Callable[[Progress], None], checkpoint: Path | None
) -> MobileSam:
    settings = run.settings
    if checkpoint is not None and checkpoint.is_file():
        run.restore(checkpoint)
    for number, lessons in enumerate(batches(samples, settings)):
        if number < run.done:
            continue
        loss = run.step(lessons)
        on_progress(Progress(run.done, run.steps, loss))
        if checkpoint is not None and run.done % CHECKPOINT_STEPS == 0:
            run.save(checkpoint)
    return run.result()


DECODERS = {"mask_decoder": True, "single_mask_decoder": False}
"""By name, whether it is that for prompts that get three masks: see ``MobileSam.decoder``."""
CHECKPOINT_STEPS = 25
PROMPTS_AT_ONCE = 8
"""On one photo; more take memory and save no time."""


class Lesson(NamedTuple):
    """Some objects on one view of a photo."""

    sample: Sample
    targets: Sequence[Target]


def count_steps(samples: Sequence[Sequence[Sample]], settings: TrainingSettings) -> int:
    return sum(1 for _ in batches(samples, settings))


def batches(samples: Sequence[Sequence[Sample]], settings: TrainingSettings) -> Iterator[Sequence[Lesson]]:
    """What each step learns from. An epoch sees one view of each photo and all its objects there once."""
    at_once = min(PROMPTS_AT_ONCE, settings.prompts_per_step)
    for epoch in range(settings.epochs):
        chance = np.random.default_rng([settings.seed, epoch])
        lessons: list[Lesson] = []
        for views in samples:
            sample = views[max(0, int(chance.integers(-1, len(views))))]  # the photo itself twice as often as others
            order = chance.permutation(len(sample.targets))
            for start in range(0, len(order), at_once):
                lessons.append(Lesson(sample, [sample.targets[index] for index in order[start : start + at_once]]))
        step: list[Lesson] = []
        for index in chance.permutation(len(lessons)):
            step.append(lessons[index])
            if prompts(step) >= settings.prompts_per_step:
                yield step
                step = []
        if step:
            yield step


def prompts(lessons: Sequence[Lesson]) -> int:
    return sum(len(lesson.targets) for lesson in lessons)


class Run:
    """One training: a model, its optimizer, the average of what is trained, and how far it is."""

    def __init__(
        self, model: MobileSam, teacher: MobileSam, settings: TrainingSettings, steps: int, device: str = "cpu"
    ) -> None:
        self.settings, self.steps, self.done = settings, steps, 0
        self.device = torch.device(device)
        self.dtype = precision(settings.precision, self.device)
        if model.single_mask_decoder is None:
            model.single_mask_decoder = deepcopy(model.mask_decoder)
        self.parts = {
            name: dict(model.get_submodule(name).requires_grad_(True).named_parameters()) for name in DECODERS
        }
        if settings.adapter_rank:
            self.parts["image_encoder"] = adapt(model.image_encoder, settings.adapter_rank, settings.seed)
        self.model, self.teacher = model.to(self.device), teacher.to(self.device)
        self.trained = {f"{part}.{name}": one for part, of in self.parts.items() for name, one in of.items()}
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=settings.learning_rate, weight_decay=0.0, fused=True
        )
        with torch.no_grad():
            self.average = {name: parameter.clone() for name, parameter in self.trained.items()}
            self.grid = model.prompt_encoder.grid().to(self.dtype)
            self.official = parameters(teacher.mask_decoder, self.dtype)

    def step(self, lessons: Sequence[Lesson]) -> float:
        """Learn from some objects of some photos; gives the mean loss of one."""
        chance = np.random.default_rng([self.settings.seed, 1 << 32, self.done])
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self.pace()
        losses = [self.learn(lesson, 1 / prompts(lessons), chance) for lesson in lessons]
        for part in self.parts.values():
            torch.nn.utils.clip_grad_norm_(part.values(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1
        self.take_average()
        return sum(losses)

    def learn(self, lesson: Lesson, weight: float, chance: np.random.Generator) -> float:
        """Add what one photo's objects want to the gradient; gives their weighted loss."""
        sample, targets = lesson
        masks = self.here(np.stack([target.mask() for target in targets]))
        before = sample.features().to(self.device)
        now = self.encoded(sample) if self.settings.adapter_rank else before
        view = View(now, before, sample.inside().to(self.device), masks)
        refining = chance.random() < self.settings.refining_share
        loss = weight * (self.refining_loss if refining else self.first_loss)(view, targets, chance)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

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

    def pace(self) -> float:
        """The learning rate's factor: up in a line, down in a cosine."""
        warm = min(1.0, (self.done + 1) / max(1, self.settings.warmup_steps))
        return warm * (0.5 + 0.5 * math.cos(math.pi * self.done / self.steps))

    @torch.no_grad()
    def take_average(self) -> None:
        share = 1 - min(self.settings.average, (1 + self.done) / (10 + self.done))
        for name, parameter in self.trained.items():
            self.average[name].lerp_(parameter, share)

    @torch.no_grad()
    def result(self) -> MobileSam:
        """The model with averaged weights, on the way between them and the official ones, in eval mode."""
        for name, parameter in self.trained.items():
            parameter.copy_(self.average[name])
        merge(self.model.image_encoder)
        official: dict[str, nn.Module] = {"image_encoder": self.teacher.image_encoder}
        official |= {name: self.teacher.decoder(multimask=multimask) for name, multimask in DECODERS.items()}
        for part in self.parts:
            anchor = dict(official[part].named_parameters())
            for name, parameter in self.model.get_submodule(part).named_parameters():
                parameter.lerp_(anchor[name], self.settings.official_share)
        return self.model.to("cpu").requires_grad_(False).eval()

    def save(self, path: Path) -> None:
        """Keep the state; a crash leaves the one before."""
        state = {
            "settings": self.settings.model_dump_json(),
            "done": self.done,
            "trained": {name: parameter.detach() for name, parameter in self.trained.items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        with replacing(path) as file:
            torch.save(state, file)

    @torch.no_grad()
    def restore(self, path: Path) -> None:
        """Go on from a kept state, if it is one of a training with the same settings."""
        state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        if state["settings"] != self.settings.model_dump_json():
            return
        for name, parameter in self.trained.items():
            parameter.copy_(state["trained"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average, self.done = state["average"], state["done"]


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
