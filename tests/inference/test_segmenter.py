"""Every call gets the masks of the image that it names; each image is read and encoded once."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from maskloop.cache.index import FRESH
from maskloop.errors import ImageRefused, ImageUnavailable, ImageUnreadable
from maskloop.inference import Segmenter
from maskloop.sam.automatic import AutomaticSettings
from maskloop.sam.values import Image, ImageSize, Prompt

A, B = "/data/local-files/?d=a.png", "/data/local-files/?d=b.png"
EMBEDDING_BYTES = 2 * 256 * 64 * 64
SCRIPT = Path(__file__).parent / "segmenter_process.py"
Make = Callable[..., Segmenter]
Picture = Callable[..., Image]


def ask(segmenter: Segmenter, fake: SimpleNamespace, reference: str, x: float = 1, y: float = 2) -> Any:
    (answer,) = segmenter.engine.decode(segmenter.embedding(reference), [fake.click(x, y)], multimask=False)
    return answer.logits


def png(pixels: Image, format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, format)
    return stream.getvalue()


def test_a_click_gets_the_engines_answer_for_that_image(make: Make, picture: Picture, fake: SimpleNamespace) -> None:
    one, other = picture("a.png", 1), picture("b.png", 2)
    segmenter = make()
    for _ in range(2):
        assert np.array_equal(ask(segmenter, fake, A), fake.expected(one, 1, 2))
        assert np.array_equal(ask(segmenter, fake, B, 5, 6), fake.expected(other, 5, 6))


def test_prompts_are_made_for_the_images_size(make: Make, picture: Picture, fake: SimpleNamespace) -> None:
    picture("a.png", 1, height=30, width=40)
    sizes = []

    def objects(size: ImageSize) -> list[list[Prompt]]:
        sizes.append(size)
        return [[fake.click(0, 0)], [fake.click(1, 1)]]

    answers = make().refine(A, objects)
    assert sizes == [ImageSize(height=30, width=40)]
    assert [answer.logits.shape for answer in answers] == [(1, 256, 256)] * 2
    assert {answer.size for answer in answers} == {ImageSize(30, 40)}


class TestOnce:
    """An image is read once, and encoded once."""

    def test_by_one_worker(self, make: Make, web: Any, fake: SimpleNamespace) -> None:
        web.gives("/data/upload/1/a.png", png(np.zeros((9, 9, 3), np.uint8)))
        engine = fake.FakeEngine()
        segmenter = make(engine, label_studio=web.url)
        for x in range(5):
            ask(segmenter, fake, "/data/upload/1/a.png", x)
        assert (len(web.seen), len(engine.encoded)) == (1, 1)

    def test_by_another_worker_or_after_a_restart(self, make: Make, web: Any, fake: SimpleNamespace) -> None:
        web.gives("/data/upload/1/a.png", png(np.zeros((9, 9, 3), np.uint8)))
        engines = [fake.FakeEngine() for _ in range(3)]
        answers = [ask(make(engine, label_studio=web.url), fake, "/data/upload/1/a.png") for engine in engines]
        assert (len(web.seen), [len(engine.encoded) for engine in engines]) == (1, [1, 0, 0])
        assert all(np.array_equal(answer, answers[0]) for answer in answers)

    def test_by_many_threads_at_once(self, make: Make, web: Any, fake: SimpleNamespace) -> None:
        web.gives("/data/upload/1/a.png", png(np.zeros((9, 9, 3), np.uint8)))
        engine = fake.FakeEngine()
        segmenter = make(engine, label_studio=web.url)
        at_once(8, lambda: ask(segmenter, fake, "/data/upload/1/a.png"))
        assert (len(web.seen), len(engine.encoded)) == (1, 1)

    def test_by_many_processes_at_once(self, picture: Picture, tmp_path: Path, root: Path) -> None:
        picture("a.png", 1)
        counts = run_processes(3, tmp_path, root, clicks=5, memory=64 << 20, names=["a.png"])
        assert sorted(counts) == [0, 0, 1]

    def test_under_several_references(self, make: Make, picture: Picture, root: Path, fake: SimpleNamespace) -> None:
        pixels = picture("a.png", 1)
        (root / "same.bmp").write_bytes(png(pixels, "BMP"))
        engine = fake.FakeEngine()
        segmenter = make(engine)
        uri = f"data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"
        for reference in (A, "/data/local-files/?d=same.bmp", uri):
            assert np.array_equal(ask(segmenter, fake, reference), fake.expected(pixels, 1, 2))
        assert len(engine.encoded) == 1

    def test_under_several_references_at_once(
        self, make: Make, picture: Picture, root: Path, fake: SimpleNamespace
    ) -> None:
        pixels = picture("a.png", 1)
        references = [f"/data/local-files/?d={number}.bmp" for number in range(6)]
        for number in range(6):
            (root / f"{number}.bmp").write_bytes(png(pixels, "BMP"))
        engine = fake.FakeEngine()
        segmenter = make(engine)
        at_once(6, lambda: ask(segmenter, fake, references.pop()))
        assert len(engine.encoded) == 1

    def test_ahead_of_the_click(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        picture("a.png", 1)
        assert make().prefetch(A)
        engine = fake.FakeEngine()
        assert not make(engine).prefetch(A)
        ask(make(engine), fake, A)
        assert not engine.encoded

    def test_of_pixels_that_are_at_hand(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        pixels = picture("a.png", 1)
        engine = fake.FakeEngine()
        make(engine).embedding_of(pixels)
        ask(make(engine), fake, A)
        make(engine).embedding_of(pixels)
        assert len(engine.encoded) == 1

    def test_by_each_engine(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        """Another engine's embedding is of no use: other weights, other precision."""
        picture("a.png", 1)
        ask(make(fake.FakeEngine("fp32")), fake, A)
        other = fake.FakeEngine("bf16")
        ask(make(other), fake, A)
        assert len(other.encoded) == 1


class TestChanged:
    """An image that has changed is another image."""

    def test_file(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        picture("a.png", 1)
        segmenter = make()
        ask(segmenter, fake, A)
        changed = picture("a.png", 2, mtime=2_000_000_000)
        assert np.array_equal(ask(segmenter, fake, A), fake.expected(changed, 1, 2))

    def test_file_whose_time_does_not_tell(
        self, make: Make, picture: Picture, root: Path, fake: SimpleNamespace
    ) -> None:
        """Same name, length and time: only a file that has been left alone for a while is trusted."""
        now = time.time()
        segmenter = make()
        for seed in (1, 2):
            pixels = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
            with (root / "a.png").open("r+b" if seed == 2 else "wb") as file:
                file.write(png(pixels, "BMP"))
            os.utime(root / "a.png", (now, now))
            assert np.array_equal(ask(segmenter, fake, A), fake.expected(pixels, 1, 2))

    def test_address(self, make: Make, web: Any, fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
        images = [np.full((9, 9, 3), value, np.uint8) for value in (1, 2)]
        segmenter = make(allowed_hosts=(web.host,))
        url = f"{web.url}/a.png"
        web.gives("/a.png", png(images[0]))
        assert np.array_equal(ask(segmenter, fake, url), fake.expected(images[0], 1, 2))
        web.gives("/a.png", png(images[1]))
        assert np.array_equal(ask(segmenter, fake, url), fake.expected(images[0], 1, 2)), "not asked again at once"
        monkeypatch.setattr("maskloop.cache.index.FRESH", 0.0)
        assert np.array_equal(ask(segmenter, fake, url), fake.expected(images[1], 1, 2))

    def test_address_is_asked_by_its_etag(
        self, make: Make, web: Any, fake: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [1e6]
        monkeypatch.setattr("maskloop.inference.segmenter.time", SimpleNamespace(time=lambda: now[0]))
        image = np.zeros((9, 9, 3), np.uint8)
        engine = fake.FakeEngine()
        segmenter = make(engine, allowed_hosts=(web.host,))
        web.gives("/a.png", png(image), ETag='"1"')
        first = ask(segmenter, fake, f"{web.url}/a.png")
        web.gives("/a.png", b"", 304)
        now[0] += FRESH
        for _ in range(2):
            assert np.array_equal(ask(segmenter, fake, f"{web.url}/a.png"), first)
        assert [headers.get("if-none-match") for _, headers in web.seen] == [None, '"1"']
        assert len(engine.encoded) == 1

    def test_signature_is_the_same_image(self, make: Make, web: Any, fake: SimpleNamespace) -> None:
        web.gives("/a.png", png(np.zeros((9, 9, 3), np.uint8)))
        segmenter = make(allowed_hosts=(web.host,))
        for signature in "123":
            ask(segmenter, fake, f"{web.url}/a.png?X-Amz-Signature={signature}")
        assert len(web.seen) == 1


class TestRefused:
    def test_whatever_the_caches_hold(self, make: Make, web: Any, fake: SimpleNamespace) -> None:
        web.gives("/a.png", png(np.zeros((9, 9, 3), np.uint8)))
        url = f"{web.url}/a.png"
        ask(make(allowed_hosts=(web.host,)), fake, url)
        stricter = make()
        for call in (stricter.embedding, stricter.image, stricter.prefetch):
            with pytest.raises(ImageRefused):
                call(url)
        with pytest.raises(ImageRefused):
            stricter.everything(url, AutomaticSettings())

    def test_a_file_that_is_gone(self, make: Make, picture: Picture, root: Path, fake: SimpleNamespace) -> None:
        picture("a.png", 1)
        segmenter = make()
        ask(segmenter, fake, A)
        (root / "a.png").unlink()
        with pytest.raises(ImageUnavailable):
            ask(segmenter, fake, A)

    def test_failures_are_not_kept(self, make: Make, picture: Picture, root: Path, fake: SimpleNamespace) -> None:
        (root / "a.png").write_bytes(b"no image")
        os.utime(root / "a.png", (1, 1))
        segmenter = make()
        with pytest.raises(ImageUnreadable):
            ask(segmenter, fake, A)
        image = picture("a.png", 1)
        assert np.array_equal(ask(segmenter, fake, A), fake.expected(image, 1, 2))


class TestNeverTheOthersMask:
    """Two people click on two images at the same moment, 200 times."""

    @pytest.mark.parametrize("memory", [64 << 20, EMBEDDING_BYTES + 1000, 0], ids=["both fit", "one fits", "none fits"])
    def test_in_two_threads(self, make: Make, picture: Picture, fake: SimpleNamespace, memory: int) -> None:
        truth = {A: fake.expected(picture("a.png", 1), 1, 2), B: fake.expected(picture("b.png", 2), 1, 2)}
        segmenter = make(memory=memory)
        right: list[bool] = []
        orders = [truth, dict(reversed(truth.items()))]
        at_once(2, lambda: right.append(fake.alternate(segmenter, orders.pop(), 100)))
        assert right == [True, True]

    def test_in_two_processes(self, picture: Picture, tmp_path: Path, root: Path) -> None:
        picture("a.png", 1)
        picture("b.png", 2)
        counts = run_processes(2, tmp_path, root, clicks=100, memory=0, names=["a.png", "b.png"])
        assert sum(counts) == 2, "each image was encoded once"

    def test_while_the_cache_is_destroyed(
        self, make: Make, picture: Picture, tmp_path: Path, fake: SimpleNamespace
    ) -> None:
        truth = {A: fake.expected(picture("a.png", 1), 1, 2), B: fake.expected(picture("b.png", 2), 1, 2)}
        segmenter = make(memory=0)
        right: list[bool] = []
        worker = threading.Thread(target=lambda: right.append(fake.alternate(segmenter, truth, 60)))
        worker.start()
        rng = np.random.default_rng(0)
        while worker.is_alive():
            for path in (tmp_path / "cache").glob("*/*"):
                if path.is_file() and rng.random() < 0.3:
                    with suppress(FileNotFoundError):
                        os.truncate(path, int(rng.integers(0, 1000)))
        worker.join()
        assert right == [True]


class TestEverything:
    # The fake engine's masks are noise: nothing but their score is asked of them.
    SETTINGS = AutomaticSettings(points_per_side=2, stability_score_thresh=0.0, box_nms_thresh=1.0)

    def test_is_looked_for_once(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        picture("a.png", 1, height=64, width=64)
        engine = fake.FakeEngine()
        first = make(engine).everything(A, self.SETTINGS)
        decoded = engine.decoded
        again = make(engine).everything(A, self.SETTINGS)
        assert decoded == engine.decoded > 0
        assert len(first) == len(again) > 0
        for one, other in zip(first, again, strict=True):
            assert np.array_equal(one.pixels, other.pixels)

    def test_by_many_threads_is_looked_for_once(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        picture("a.png", 1, height=64, width=64)
        picture("b.png", 1, height=64, width=64)
        alone, together = fake.FakeEngine(), fake.FakeEngine()
        make(alone, model="other").everything(B, self.SETTINGS)
        segmenter = make(together)
        at_once(4, lambda: segmenter.everything(A, self.SETTINGS))
        assert together.decoded == alone.decoded

    def test_depends_on_the_settings(self, make: Make, picture: Picture) -> None:
        picture("a.png", 1, height=64, width=64)
        segmenter = make()
        assert len(segmenter.everything(A, self.SETTINGS)) > 0
        assert len(segmenter.everything(A, AutomaticSettings(points_per_side=2, pred_iou_thresh=0.999))) == 0

    def test_depends_on_the_model(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        """A trained decoder works on the same embeddings, and finds other things."""
        picture("a.png", 1, height=64, width=64)
        make(model="official").everything(A, self.SETTINGS)
        engine = fake.FakeEngine()
        make(engine, model="trained").everything(A, self.SETTINGS)
        assert not engine.encoded
        assert engine.decoded

    def test_depends_on_the_image(self, make: Make, picture: Picture) -> None:
        segmenter = make()
        found = []
        for seed in (1, 2):
            picture("a.png", seed, height=64, width=64, mtime=seed)
            found.append(segmenter.everything(A, self.SETTINGS))
        assert not np.array_equal(found[0][0].pixels, found[1][0].pixels)

    def test_are_picked_from_once_they_are_there_and_by_no_work(
        self, make: Make, picture: Picture, fake: SimpleNamespace
    ) -> None:
        picture("a.png", 1, height=64, width=64)
        engine = fake.FakeEngine()
        segmenter = make(engine)
        assert segmenter.picker(A, self.SETTINGS) is None
        assert not engine.encoded
        proposals = make().everything(A, self.SETTINGS)
        picker = segmenter.picker(A, self.SETTINGS)
        assert picker is not None
        assert picker is segmenter.picker(A, self.SETTINGS)
        assert np.array_equal(picker.proposals.boxes, proposals.boxes)
        assert (engine.encoded, engine.decoded) == ([], 0)
        assert segmenter.picker(A, AutomaticSettings(points_per_side=3)) is None

    def test_nothing_is_read_to_know_that_there_is_nothing_to_pick_from(self, make: Make, web: Any) -> None:
        assert make(allowed_hosts=(web.host,)).picker(f"{web.url}/a.png", self.SETTINGS) is None
        assert not web.seen

    def test_are_not_picked_from_once_the_image_is_another(self, make: Make, picture: Picture) -> None:
        picture("a.png", 1, height=64, width=64, mtime=1)
        segmenter = make()
        segmenter.everything(A, self.SETTINGS)
        assert segmenter.picker(A, self.SETTINGS) is not None
        picture("a.png", 2, height=64, width=64, mtime=2)
        assert segmenter.picker(A, self.SETTINGS) is None

    def test_looks_into_crops(self, make: Make, picture: Picture, fake: SimpleNamespace) -> None:
        picture("a.png", 1, height=64, width=64)
        engine = fake.FakeEngine()
        settings = AutomaticSettings(points_per_side=2, stability_score_thresh=0.0, crop_n_layers=1)
        make(engine).everything(A, settings)
        assert len(engine.encoded) == 5
        make(engine).everything(A, settings)
        assert len(engine.encoded) == 5


@pytest.mark.weights
def test_real_masks_do_not_depend_on_caches_or_threads(
    make: Make, root: Path, photo: Callable[[str], Image], official_weights: Path
) -> None:
    """The real network: first answer, from memory, from disk in another worker, and with somebody else clicking."""
    from maskloop.engines.torch_engine import TorchEngine
    from maskloop.sam.network import load_model

    names = {A: "chelsea.png", B: "coffee.png"}
    for reference, name in names.items():
        Pillow.fromarray(photo(name)).save(root / reference.partition("=")[2])
        os.utime(root / reference.partition("=")[2], (1, 1))

    def engine() -> TorchEngine:
        return TorchEngine(load_model(official_weights))

    def clicked(segmenter: Segmenter, reference: str) -> Any:
        middle = [Prompt(np.array([[200.0, 150.0]], np.float32), np.ones(1, np.int8))]
        return segmenter.engine.decode(segmenter.embedding(reference), middle, multimask=True)[0].logits

    first, other = make(engine()), make(engine())
    truth = {reference: clicked(first, reference) for reference in names}
    assert not np.array_equal(truth[A], truth[B])

    def click_in_turns() -> None:
        for segmenter in (first, other):
            for reference, logits in truth.items():
                np.testing.assert_allclose(clicked(segmenter, reference), logits, atol=1e-3)

    at_once(2, click_in_turns)


@pytest.mark.weights
def test_two_clicks_on_a_real_photo_pick_a_mask_that_holds_both(
    make: Make, root: Path, photo: Callable[[str], Image], official_weights: Path
) -> None:
    """The cup and saucer of the photo: a click on the coffee and one on the handle mean more than the coffee."""
    from maskloop.engines.torch_engine import TorchEngine
    from maskloop.sam.network import load_model

    Pillow.fromarray(photo("coffee.png")).save(root / "a.png")
    os.utime(root / "a.png", (1, 1))
    settings = AutomaticSettings(points_per_side=8)
    segmenter = make(TorchEngine(load_model(official_weights)))
    segmenter.everything(A, settings)
    picker = segmenter.picker(A, settings)
    assert picker is not None
    coffee, both = picker.pick([(290, 150)]), picker.pick([(290, 150), (230, 265)])
    assert coffee is not None
    assert both is not None
    small, large = picker.proposals[coffee].pixels, picker.proposals[both].pixels
    assert small[150, 290]
    assert large[150, 290]
    assert large[265, 230]
    assert small.sum() < large.sum() < large.size / 2


def at_once(count: int, work: Callable[[], object]) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def run_processes(count: int, tmp_path: Path, root: Path, *, clicks: int, memory: int, names: list[str]) -> list[int]:
    """How many images each process encoded; they start at the same moment."""
    command = [sys.executable, str(SCRIPT), str(tmp_path / "data"), str(root), str(clicks), str(memory), *names]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * count
    return [int(output) for output in outputs]
