"""Teaching the network what a project's people mean by a click.

The encoder stays as it is, so embeddings are computed once and serve every version, and two CPU cores are enough. On a
GPU, low-rank adapters may let it learn too: see ``adapters``. What is learned: see ``objective``; in which order: see
``lessons``.

Each step's chance depends on the seed and the step's number alone: a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from maskloop.engines.choose import first_line
from maskloop.engines.runtime import gpu_is_lost, may_take_gpu, wants_memory
from maskloop.errors import MaskloopError
from maskloop.files import replacing
from maskloop.learning.adapters import adapt, merge
from maskloop.learning.lessons import Lesson, batches, count_steps, prompts
from maskloop.learning.objective import Objective
from maskloop.learning.samples import Sample
from maskloop.learning.training_settings import TrainingSettings
from maskloop.sam.network import MobileSam

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    step: int
    steps: int
    loss: float


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
            Run(model, teacher, settings, count_steps(samples, settings), usable(device)),
            samples,
            on_progress,
            checkpoint,
        )
    except RuntimeError as error:
        if not wants_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)  # what the failed step holds, to be given back below
        hint = "Free some of it, or train on the CPU: MASKLOOP_ENGINE=torch-cpu, or openvino."
        raise MaskloopError("The GPU has too little memory left to train.", hint) from error
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()


def device_for(engine: str) -> str:
    """Where to train if that is the engine asked for: a GPU that is there is used unless another engine is."""
    return "cuda" if may_take_gpu(engine) and torch.cuda.is_available() else "cpu"


def usable(device: str) -> str:
    """The device, or the CPU if PyTorch's build isn't for this GPU, which is logged."""
    if device == "cuda":
        try:
            torch.zeros(1, device=device).add_(1).item()
        except RuntimeError as error:
            if gpu_is_lost(error) or wants_memory(error):
                raise
            log.warning("Training is on the CPU, as PyTorch can't use the GPU: %s", first_line(error))
            return "cpu"
    return device


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


class Run:
    """One training: a model, its optimizer, the average of what is trained, and how far it is."""

    def __init__(
        self, model: MobileSam, teacher: MobileSam, settings: TrainingSettings, steps: int, device: str = "cpu"
    ) -> None:
        self.settings, self.steps, self.done = settings, steps, 0
        self.device = torch.device(device)
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
        self.objective = Objective(self.model, self.teacher.mask_decoder, settings, self.device)
        with torch.no_grad():
            self.average = {name: parameter.clone() for name, parameter in self.trained.items()}

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
        return float(torch.stack(losses).sum())

    def learn(self, lesson: Lesson, weight: float, chance: np.random.Generator) -> torch.Tensor:
        """Add what one photo's objects want to the gradient; gives their weighted loss."""
        loss = weight * self.objective.loss(lesson, chance)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

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
