"""Every line of the table: ours, and the official code in turns on the same photos."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image as Pillow

from maskloop.bench.clicks import Clicker, serving, spot, uploads
from maskloop.bench.machine import Machine, Work, count_work
from maskloop.bench.queue import echoes
from maskloop.bench.rows import Row, in_blocks, in_turns, median, percentile, timed
from maskloop.engines.base import Engine
from maskloop.geometry.label_studio_rle import encode as encode_rle
from maskloop.official.process import OfficialProcess
from maskloop.sam.masks import best
from maskloop.sam.network import MobileSam
from maskloop.sam.preprocess import frame_of
from maskloop.sam.values import Embedding, Image, ImageSize, Mask, Prompt


@dataclass(frozen=True, slots=True)
class Effort:
    """How often things are done: the figures steady with the number, and take their time."""

    encodes: int
    clicks: int
    users: tuple[int, ...]
    restarts: int
    images: tuple[int, ...]
    """Numbers of different images after which a worker's memory is looked at."""


QUICK = Effort(encodes=3, clicks=30, users=(1, 8), restarts=1, images=(20,))
FULL = Effort(encodes=9, clicks=200, users=(1, 8, 32), restarts=5, images=(100, 1000))


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """photos: PNG or JPEG files. engine: what a worker would run. reference: None measures ours alone."""

    photos: Sequence[Path]
    engine: Engine
    machine: Machine
    effort: Effort
    reference: OfficialProcess | None = None

    def rows(self, workspace: Path) -> Iterator[Row]:
        """All lines, each as soon as it is measured. ``workspace``: an empty folder for the servers' data."""
        yield from self.in_process()
        yield self.queue(workspace / "queue")
        yield from self.through_http(workspace)

    # In this process, without queue or HTTP

    def in_process(self) -> Iterator[Row]:
        path = self.photos[0]
        image = read(path)
        encoder, decoder = network_work(image)
        (embedding,) = self.engine.encode([image])
        ours, theirs = in_turns(
            lambda: timed(lambda: self.engine.encode([image])),
            self.asks("encode", image=str(path)),
            self.effort.encodes,
        )
        yield Row("encode", ours, theirs, self.limit(encoder), f"{self.engine.name}, one photo")

        spots = self.spots(image)
        ours, theirs = in_turns(
            lambda: timed(lambda: click(self.engine, embedding, *next(spots))),
            self.asks_at("decode", image),
            self.effort.clicks,
        )
        yield Row("decode_click", ours, theirs, self.limit(decoder), "one click to a mask at full size")

        ours, theirs = in_turns(
            lambda: timed(lambda: cold(self.engine, path, *next(spots))),
            self.asks_at("cold_click", image, path),
            self.effort.encodes,
        )
        yield Row("cold_click", ours, theirs, self.limit(encoder, decoder), "file to brush RLE, in process")

        mask = click(self.engine, embedding, *next(spots)).pixels
        ours, theirs = in_turns(lambda: timed(lambda: encode_rle(mask)), self.asks("rle"), self.effort.clicks)
        yield Row("rle", ours, theirs, self.limit(Work(0, mask.nbytes)), "a mask as Label Studio's brush")

        batch = [read(photo) for photo in self.photos]
        each = median([timed(lambda: self.engine.encode(batch)) / len(batch) for _ in range(self.effort.encodes)])
        yield Row("encode_batch", each, None, self.limit(encoder), f"each of {len(batch)} photos in one call")

    # Through a queue, and a server with its workers

    def queue(self, directory: Path) -> Row:
        with echoes(directory) as there_and_back:
            there_and_back(None)
            took = [there_and_back({"task": {"id": number}}) for number in range(self.effort.clicks)]
        return Row("queue_overhead", median(took), note="a job without work, to a worker and back")

    def through_http(self, workspace: Path) -> Iterator[Row]:
        """The same clicks, against the official code in process with the SDK's encoder."""
        (workspace / "uploads").mkdir()
        for photo in self.photos:
            shutil.copy(photo, workspace / "uploads")
        data_dir = workspace / "data"
        data_dir.mkdir()
        names = [photo.name for photo in self.photos]
        image = read(self.photos[0])
        _, decoder = network_work(image)
        with uploads(workspace / "uploads") as host:
            with serving(host, data_dir) as clicker:
                yield Row("start_up", clicker.start_ms, note="`maskloop serve` until a worker holds the model")
                yield Row("cold_click_http", clicker.click(names[0], 50, 50), note="first click on a new photo")
                yield from self.warm_clicks(clicker, names[0], image, decoder)
                for name in names:
                    clicker.click(name, 50, 50)
                for users in self.effort.users:
                    yield from self.concurrent_clicks(clicker, names, users)
                yield Row("memory", resident_mib(clicker.processes()), note="MiB, server and all that it started")
            restarted = []
            for _ in range(self.effort.restarts):
                with serving(host, data_dir) as clicker:
                    restarted.append(clicker.click(names[1], 50, 50))
            yield Row("click_after_restart", median(restarted), note="first click of a new server, photo seen before")
            with serving(host, data_dir, workers=2) as clicker:
                handed_over = []
                for name in names:  # idle workers take turns: the second click is another worker's
                    clicker.click(name, 40, 40)
                    handed_over.append(clicker.click(name, 60, 60))
                yield Row("click_other_worker", median(handed_over), note="photo seen by the other worker alone")
            with serving(host, data_dir) as clicker:
                yield from self.growth(clicker, workspace / "uploads")

    def warm_clicks(self, clicker: Clicker, name: str, image: Image, decoder: Work) -> Iterator[Row]:
        (embedding,) = self.engine.encode([image])
        if self.reference:
            self.reference.ask("encode", image=str(self.photos[0]))
        height, width = image.shape[:2]

        def pixels(index: int) -> tuple[float, float]:
            x, y = spot(index)
            return x / 100 * width, y / 100 * height

        works: dict[str, Callable[[int], float]] = {
            "http": lambda index: clicker.click(name, *spot(index)),
            "alone": lambda index: timed(lambda: click(self.engine, embedding, *pixels(index))),
        }
        if official_click := self.asks_at("click", image):
            works["official"] = lambda _: official_click()
        taken = in_blocks(works, self.effort.clicks)
        ours, theirs = taken["http"], taken.get("official")
        overhead = [through - within for through, within in zip(ours, taken["alone"], strict=True)]
        limit = self.limit(decoder)
        for share in (50, 99):
            official = percentile(theirs, share) if theirs else None
            yield Row(f"warm_click_http_p{share}", percentile(ours, share), official, limit, "HTTP, queue, worker, RLE")
        for share in (50, 99):
            yield Row(
                f"click_overhead_p{share}", percentile(overhead, share), note="the same less the decode in process"
            )
        yield Row("warm_click_http", median(ours), median(theirs) if theirs else None, limit, "median")
        yield Row("click_overhead", median(overhead), note="median")

    def growth(self, clicker: Clicker, folder: Path) -> Iterator[Row]:
        """What one worker holds after a click on each of so many different images."""
        seen = 0
        for count in self.effort.images:
            for number in range(seen, count):
                name = f"growth-{number}.jpg"
                variation(read(self.photos[number % len(self.photos)]), number).save(folder / name)
                clicker.click(name, 50, 50)
                (folder / name).unlink()
            seen = count
            yield Row(f"worker_memory_{count}_images", resident_mib(clicker.workers()), note="MiB")

    def concurrent_clicks(self, clicker: Clicker, names: Sequence[str], users: int) -> Iterator[Row]:
        took = clicker.by_users(names, users, max(4, self.effort.clicks // users))
        for share in (50, 99):
            yield Row(f"click_{users}_users_p{share}", percentile(took, share), note=f"{len(took)} clicks, one worker")

    # What both sides need

    def limit(self, *work: Work) -> float:
        return self.machine.limit_ms(sum(one.operations for one in work), sum(one.moved for one in work))

    def asks(self, operation: str, **arguments: str) -> Callable[[], float] | None:
        reference = self.reference
        return (lambda: reference.milliseconds(operation, **arguments)) if reference else None

    def asks_at(self, operation: str, image: Image, path: Path | None = None) -> Callable[[], float] | None:
        reference, spots = self.reference, self.spots(image)
        arguments = {"image": str(path)} if path else {}

        def ask() -> float:
            assert reference
            x, y = next(spots)
            return reference.milliseconds(operation, x=x, y=y, **arguments)

        return ask if reference else None

    @staticmethod
    def spots(image: Image) -> Iterator[tuple[float, float]]:
        height, width = image.shape[:2]
        index = 0
        while True:
            x, y = spot(index)
            yield x / 100 * width, y / 100 * height
            index += 1


def click(engine: Engine, embedding: Embedding, x: float, y: float) -> Mask:
    prompt = Prompt(np.array([[x, y]], np.float32), np.ones(1, np.int8))
    return best(engine.decode(embedding, [prompt], multimask=True)[0])


def cold(engine: Engine, path: Path, x: float, y: float) -> list[int]:
    (embedding,) = engine.encode([read(path)])
    return encode_rle(click(engine, embedding, x, y).pixels)


def read(path: Path) -> Image:
    with Pillow.open(path) as picture:
        return np.array(picture.convert("RGB"))


def variation(image: Image, number: int) -> Pillow.Image:
    """An image like no other: moved around by so many pixels."""
    return Pillow.fromarray(np.roll(image, (number, 3 * number), axis=(0, 1)))


def network_work(image: Image) -> tuple[Work, Work]:
    """Operations and bytes of encoding the image, and of decoding one click."""
    network = MobileSam().eval()
    frame = frame_of(ImageSize(*image.shape[:2]))
    encoder = count_work(network.image_encoder, torch.zeros(1, *frame, 3))
    with torch.no_grad():
        points = network.prompt_encoder.embed_points(torch.zeros(1, 2, 2), torch.tensor([[1, -1]]))
        grid = network.prompt_encoder.grid()
    decoder = count_work(network.mask_decoder, torch.zeros(1, *grid.shape), grid, points)
    return encoder, decoder


def resident_mib(processes: Sequence[psutil.Process]) -> float:
    return float(sum(process.memory_info().rss for process in processes)) / (1 << 20)
