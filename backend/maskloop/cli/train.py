"""`maskloop train`: a new version of the model from masks in a COCO file, as though each had been reviewed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, track

from maskloop.cli.options import load_to_write
from maskloop.engines.runtime import available_threads, keep_memory
from maskloop.learning.candidate import EncoderOf, make_candidate, prepare
from maskloop.learning.dataset import describe, from_coco, split
from maskloop.learning.general import general_set
from maskloop.learning.judging import judge, read_held_out
from maskloop.learning.registry import OFFICIAL
from maskloop.learning.training import Progress as Step
from maskloop.learning.training import device_for
from maskloop.learning.training_settings import TrainingSettings
from maskloop.learning.versions import registry_of
from maskloop.settings import Settings

OpenEncoders = Callable[[Settings], EncoderOf]

Images = Annotated[Path, typer.Option(help="Folder of the photos.")]
Annotations = Annotated[Path, typer.Option(help="COCO's instances JSON for them.")]
Name = Annotated[str, typer.Option(help="Name of the new version.")]
Categories = Annotated[str, typer.Option(help="Learn from objects of these categories alone, with commas between.")]
Parent = Annotated[str, typer.Option(help="Version to start from.")]
Epochs = Annotated[int, typer.Option(min=1, help="How often each object is learned from; of thousands, less often.")]
Seed = Annotated[int, typer.Option(min=0, help="Equal seeds and data give equal versions on the same machine.")]
HoldOut = Annotated[
    float, typer.Option(min=0, max=0.9, help="Share of the photos to keep back for the gate; 0 learns from all.")
]
Views = Annotated[
    int, typer.Option(min=1, help="Learn from so many looks at each photo: itself, and parts of it, some mirrored.")
]
Adapters = Annotated[
    int,
    typer.Option(min=0, help="Rank of adapters, by which the encoder learns too; 0: it stays. Wants a GPU."),
]
DEFAULT = TrainingSettings()


def command(open_encoders: OpenEncoders) -> Callable[..., None]:
    """The command, for an application that knows how versions are opened."""

    def run(
        images: Images,
        annotations: Annotations,
        name: Name,
        categories: Categories = "",
        parent: Parent = OFFICIAL,
        epochs: Epochs = DEFAULT.epochs,
        seed: Seed = DEFAULT.seed,
        hold_out: HoldOut = 0.0,
        views: Views = DEFAULT.views,
        adapters: Adapters = DEFAULT.adapter_rank,
    ) -> None:
        """Train a version of the model from a COCO file. Run again after an interruption, it goes on where it was."""
        settings, console = load_to_write(), Console(stderr=True)
        registry = registry_of(settings)
        registry.check_free(name)
        chosen = [category.strip() for category in categories.split(",") if category.strip()]
        learn, keep = split(from_coco(images, annotations, chosen), hold_out)
        threads = settings.threads or available_threads()
        keep_memory()
        how = TrainingSettings(epochs=epochs, seed=seed, views=views, adapter_rank=adapters)
        folder, encoder_of = registry.checkpoint(name).parent, open_encoders(settings)
        watch = partial(track, description="Photos", console=console)
        held_out = read_held_out(watch(keep) if keep else keep)
        prepared = prepare(learn, encoder_of(parent).embedding_of, how, folder, watch, held_out=held_out.photos)
        for photo, problem in prepared.problems.items():
            console.print(f"{photo}: {problem}", style="yellow", markup=False)
        data = describe(str(annotations), prepared.photos)
        checkpoint = registry.checkpoint(f"{name}-{data.fingerprint[:12]}")
        with Bar(console) as bar:
            make_candidate(
                registry,
                name,
                prepared,
                data,
                how,
                parent=parent,
                threads=threads,
                device=device_for(settings.engine),
                on_progress=bar.step,
                checkpoint=checkpoint,
            )
        typer.echo(f"Version {name} has learned from {data.objects} objects on {data.photos} photos.")
        if keep:
            watch = partial(track, description="Judging", console=console)
            judgement = judge(registry, name, held_out, general_set(), encoder_of, watch, threads)
            registry.record_judgement(name, judgement)
            typer.echo(judgement.reason)
        else:
            typer.echo(
                "No photo was held out (--hold-out), so the gate has nothing to judge it by: "
                f"`maskloop models promote {name}` wants --force."
            )

    return run


class Bar:
    """Steps done, the loss, and the time that is left."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._loss: float | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        self._task = self._progress.add_task("Training", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, step: Step) -> None:
        self._loss = step.loss if self._loss is None else 0.98 * self._loss + 0.02 * step.loss
        self._progress.update(
            self._task, completed=step.step, total=step.steps, description=f"Training, loss {self._loss:.3f}"
        )
