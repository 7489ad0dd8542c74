"""`maskloop annotate`: photos in; COCO, YOLO or Label Studio files out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from maskloop.annotate.coco import NO_IDS
from maskloop.annotate.detections import parse
from maskloop.annotate.flow import Batching, outcomes
from maskloop.annotate.formats import Coco, Format, LabelStudio, Yolo
from maskloop.annotate.journal import Journal
from maskloop.annotate.label_studio import Addresses, Target, config_for
from maskloop.annotate.labels import all_labels, class_names, read_file
from maskloop.annotate.output import LocalOutput
from maskloop.annotate.places import place
from maskloop.annotate.pools import Cluster, MakeWorker, Pool, Processes
from maskloop.annotate.preview import write_previews
from maskloop.annotate.run import Done, Prompting, fill
from maskloop.annotate.sources import find, in_place, under_one_root
from maskloop.annotate.values import AnnotateError, Skipped
from maskloop.annotate.values import Source as Photo
from maskloop.annotate.yolo import IMAGES
from maskloop.cli.options import load_to_write
from maskloop.cli.watch import Watch, stop_on_ctrl_c
from maskloop.dispatch.dispatcher import Dispatcher
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName, connect
from maskloop.engines.runtime import available_threads, gpu_memory, may_take_gpu
from maskloop.learning.classifiers import classifiers_of
from maskloop.learning.versions import registry_of
from maskloop.sam.automatic import AutomaticSettings
from maskloop.settings import Settings

CORES_PER_PROCESS = 2
GPU_MEMORY_PER_PROCESS = 3 << 30
"""Bytes: CUDA itself, the network, and 64 prompts or 16 images at once, which take 1.3 and 1.1 GB."""
INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


DEFAULTS = AutomaticSettings()


class GranularityName(StrEnum):
    ALL = "all"
    WHOLE = "whole"
    PARTS = "parts"


class FormatName(StrEnum):
    COCO = "coco"
    YOLO = "yolo"
    LABEL_STUDIO = "labelstudio"


FILES = {FormatName.COCO: "annotations.json", FormatName.YOLO: "", FormatName.LABEL_STUDIO: "tasks.json"}


class Shape(StrEnum):
    BOXES = "boxes"
    POLYGONS = "polygons"


class CocoShape(StrEnum):
    RLE = "rle"
    POLYGONS = "polygons"


class YoloPhotos(StrEnum):
    AUTO = "auto"
    LINK = "link"
    COPY = "copy"
    NONE = "none"


Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="A folder, a photo, a glob, a list (.txt: one a line; .json: an array; -: standard input), or their URL: "
        "s3://, gs://, https://, ...",
    ),
]
Out = Annotated[str, typer.Option(help="A folder, or for coco and labelstudio a .json file; here or at a URL.")]
Boxes = Annotated[
    Path | None, typer.Option(help="A detector's boxes, in COCO's JSON: they prompt the masks and give their classes.")
]
Classes = Annotated[
    str | None,
    typer.Option(help="All classes in the order of their numbers, with commas between, or a file with one a line."),
]
ConfigFile = Annotated[
    Path | None, typer.Option(help="labelstudio: the project's labeling configuration, XML. Default: brush masks.")
]
ImageUrl = Annotated[
    str | None, typer.Option(help="labelstudio: what stands before a photo's name where Label Studio reaches it.")
]
LocalFilesRoot = Annotated[
    Path | None,
    typer.Option(
        help="labelstudio: its LOCAL_FILES_DOCUMENT_ROOT, above the photos; by default MASKLOOP_LOCAL_FILES_ROOT."
    ),
]
Label = Annotated[str | None, typer.Option(help="Class of the automatic masks; by default the only one, or `object`.")]

Classifier = Annotated[
    str,
    typer.Option(help="Learned classes that name the masks of which they are sure; see `maskloop classes`."),
]

Model = Annotated[
    str, typer.Option(metavar="VERSION", help="See `maskloop models list`; by default the one in service everywhere.")
]


def command(make_worker: MakeWorker) -> Callable[..., None]:
    """The command, for an application that knows how workers are made. ``make_worker`` is a module's function."""

    def annotate(
        sources: Sources,
        out: Out,
        format: Annotated[FormatName, typer.Option("--format", help="Of the files that are written.")],
        boxes: Boxes = None,
        classes: Classes = None,
        label: Label = None,
        classifier: Classifier = "",
        model: Model = "",
        coco: Annotated[
            CocoShape, typer.Option(help="How COCO's masks are written: exactly, or as many tools read them alone.")
        ] = CocoShape.RLE,
        yolo: Annotated[Shape, typer.Option(help="What YOLO's label files hold.")] = Shape.POLYGONS,
        yolo_photos: Annotated[YoloPhotos, typer.Option(help="How a YOLO folder gets its photos.")] = YoloPhotos.AUTO,
        label_config: ConfigFile = None,
        image_url: ImageUrl = None,
        local_files_root: LocalFilesRoot = None,
        tolerance: Annotated[float, typer.Option(min=0, help="How far a polygon may leave its mask, pixels.")] = 1.0,
        preview: Annotated[bool, typer.Option("--preview", help="Draw the masks on the photos, as PNGs.")] = False,
        redis_url: Annotated[
            str | None,
            typer.Option(
                help="Spread the work over the batch workers at this Redis; by default MASKLOOP_REDIS_URL, else the "
                "work is done here. The workers must reach SOURCE by the same paths or URLs."
            ),
        ] = None,
        processes: Annotated[int, typer.Option(min=0, help="On this machine; 0 takes what its cores suggest.")] = 0,
        batch_size: Annotated[int, typer.Option(min=1, help="Photos that are encoded together.")] = 1,
        max_wait: Annotated[float, typer.Option(min=0, help="Seconds that a batch waits to be full.")] = 1.0,
        fresh: Annotated[bool, typer.Option("--fresh", help="Forget what an earlier run into OUT has done.")] = False,
        granularity: Annotated[
            GranularityName, typer.Option(help="Of nested automatic masks: all, the whole objects, or their parts.")
        ] = GranularityName.ALL,
        points_per_side: Annotated[
            int, typer.Option(min=1, help="Grid of the automatic masks.")
        ] = DEFAULTS.points_per_side,
        pred_iou_thresh: Annotated[
            float, typer.Option(min=0, max=1, help="Least predicted score of an automatic mask.")
        ] = DEFAULTS.pred_iou_thresh,
        max_masks: Annotated[
            int | None, typer.Option(min=1, help="Most automatic masks of a photo, the best.")
        ] = DEFAULTS.max_masks,
        min_area: Annotated[
            int, typer.Option(min=0, help="Fill holes and drop islands of fewer pixels.")
        ] = DEFAULTS.min_mask_region_area,
        tile_side: Annotated[
            int,
            typer.Option(min=0, help="Look at large photos in tiles of this side too, for small objects; 0: don't."),
        ] = DEFAULTS.tile_side,
    ) -> None:
        """Annotate photos: every object in them, or what a detector's boxes hold.

        What is done is kept: the same command goes on where the last one stopped. The exit status is 1 if anything was
        skipped; what and why is listed.
        """
        settings = load_to_write({} if redis_url is None else {"redis_url": redis_url})
        console = Console(stderr=True)
        given = class_names(classes)
        detections = None if boxes is None else parse(read_file(boxes), given)
        target = None if label_config is None else _target(label_config, format)
        learned = classifiers_of(settings).get(classifier) if classifier else None
        names, label = all_labels(given, label, detections, target, learned)
        automatic = AutomaticSettings(
            granularity=granularity.value,
            points_per_side=points_per_side,
            pred_iou_thresh=pred_iou_thresh,
            max_masks=max_masks,
            min_mask_region_area=min_area,
            tile_side=tile_side,
        )
        if settings.redis_url is None:  # another machine's workers know themselves what is in service
            model = model or registry_of(settings).in_service()
        prompting = Prompting(label, automatic, detections, classifier, model)
        to = place(out, FILES[format], settings.data_dir)
        addresses = Addresses(local_files_root or settings.local_files_root, image_url)
        files: Format
        if format is FormatName.YOLO:
            files = Yolo(names, yolo.value, tolerance, yolo_photos.value)
        elif format is FormatName.COCO:
            ids = NO_IDS if detections is None else detections.ids
            files = Coco(names, to.file, ids, coco.value, tolerance)
        else:
            files = LabelStudio(target or Target.of(config_for(names)), addresses, tolerance, to.file)
        own = [*files.names, *([to.previews] if preview else [])]
        to.check(own)
        without = [to.output.address(name) for name in to.made()]
        photos: Iterable[Photo | Skipped] = chain.from_iterable(find(source, without) for source in sources)
        if format is FormatName.LABEL_STUDIO:
            photos = _reachable(photos, addresses)
        root = ""
        if "-" not in sources:
            photos = list(photos)
            if len(sources) > 1:
                photos, root = under_one_root(photos)
        if format is FormatName.YOLO and yolo_photos is YoloPhotos.NONE and isinstance(to.output, LocalOutput):
            photos = [*in_place(photos, Path(to.output.address(IMAGES)))]
        if fresh:
            to.journal.unlink(missing_ok=True)
        with Journal(to.journal, prompting.options(learned)) as journal:
            with Watch(console, len(photos) if isinstance(photos, Sized) else None) as watch:
                with closing(_pool(make_worker, settings, processes)) as pool, stop_on_ctrl_c(console) as stop:
                    batching = Batching(batch_size, max_wait)
                    done = fill(
                        journal,
                        photos,
                        lambda todo: outcomes(todo, pool, prompting.job, batching, stop),
                        prompting,
                        watch,
                    )
                if stop.is_set():
                    console.print(f"Stopped with {len(done.photos)} photos done. The same command goes on from here.")
                    raise typer.Exit(INTERRUPTED)
                to.claim(own)
                files.write(to.output, watch.writing("Files", done.photos))
                skipped = [*done.skipped]
                if preview:
                    limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
                    drawn = watch.writing("Previews", done.photos)
                    skipped += write_previews(to.output, to.previews, drawn, **limits)
            _tell(console, out, done, skipped, root)
        raise typer.Exit(1 if skipped else 0)

    return annotate


def _target(path: Path, format: FormatName) -> Target:
    if format is not FormatName.LABEL_STUDIO:
        raise AnnotateError("--label-config is for --format labelstudio.", "Use --classes and --label here.")
    return Target.of(read_file(path).decode(errors="replace"))


def _reachable(found: Iterable[Photo | Skipped], addresses: Addresses) -> Iterator[Photo | Skipped]:
    """Raises AnnotateError at the first photo that Label Studio can't reach, and not when all are done."""
    for each in found:
        if isinstance(each, Photo):
            addresses.of(each)
        yield each


def _pool(make_worker: MakeWorker, settings: Settings, processes: int) -> Pool:
    if settings.redis_url is not None:
        redis = connect(settings.redis_url)
        workers = len(overview(redis)[QueueName.BATCH].workers)
        return Cluster(Dispatcher(redis, {QueueName.BATCH: settings.max_waiting_tasks}), max(1, 2 * workers))
    cores = available_threads()
    count = processes or processes_for(cores, settings.engine)
    threads = settings.threads or max(1, cores // count)
    return Processes(make_worker, settings.model_copy(update={"threads": threads}), count)


def processes_for(cores: int, engine: str) -> int:
    """What the cores suggest, and the GPU's memory holds if there is one to take."""
    by_cores = max(1, cores // CORES_PER_PROCESS)
    room = gpu_memory() if may_take_gpu(engine) else 0
    return min(by_cores, max(1, room // GPU_MEMORY_PER_PROCESS)) if room else by_cores


def _tell(console: Console, out: str, done: Done, skipped: Sequence[Skipped], root: str) -> None:
    segments = sum(len(photo.segments) for photo in done.photos)
    console.print(f"{len(done.photos)} photos with {segments} segments are in {out}.", markup=False, soft_wrap=True)
    if root:
        console.print(f"Their names are relative to {root}.", markup=False, soft_wrap=True, highlight=False)
    versions = sorted({photo.version for photo in done.photos})
    if len(versions) > 1:
        console.print(f"They are of several models, {', '.join(versions)}: --fresh does all with one.", soft_wrap=True)
    for each in skipped:
        console.print(f"skipped: {each.reference}: {each.reason}", markup=False, soft_wrap=True, highlight=False)
