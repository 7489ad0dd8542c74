"""`maskloop annotate`, as it is typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from PIL import Image as Pillow
from pycocotools.coco import COCO
from redis import Redis
from typer.testing import CliRunner

from maskloop.annotate.label_studio import config_for
from maskloop.annotate.work import Worker
from maskloop.cli.annotate import command
from maskloop.dispatch.overview import overview
from maskloop.dispatch.queues import QueueName
from maskloop.errors import MaskloopError
from maskloop.learning.classes import fit
from maskloop.learning.classifiers import Classifiers
from maskloop.sam.values import LOOKS_LENGTH
from maskloop.settings import Settings

APP = Path(__file__).with_name("stub_app.py")
Workers = Callable[..., None]
FEW = ("--points-per-side", "2")
COLOURS = [(r, g, b) for r in (0, 120, 240) for g in (0, 120, 240) for b in (0, 120, 240)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 5 photos, each of a colour of its own."""
    return make_photos(tmp_path / "photos", 5)


def make_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, colour in enumerate(COLOURS[:count]):
        Pillow.new("RGB", (200, 100), colour).save(folder / f"{number:02}.png")
    return folder


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "MASKLOOP_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "300", **more}


def annotate(tmp_path: Path, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(APP), *map(str, arguments), *FEW]
    return subprocess.run(
        line, cwd=tmp_path, env=environment(tmp_path, **env), capture_output=True, text=True, timeout=200
    )


def start(tmp_path: Path, *arguments: str, own_session: bool = False, **env: str) -> subprocess.Popen[str]:
    """The same command, to be watched: what it does waits for ``gate``."""
    return subprocess.Popen(
        [sys.executable, str(APP), *arguments, *FEW],
        cwd=tmp_path,
        env=environment(tmp_path, ANNOTATE_GATE=str(tmp_path / "gate"), **env),
        start_new_session=own_session,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What a command says that can't work; run in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path / "data"))
    app = typer.Typer()
    app.command()(command(no_worker))
    error = CliRunner().invoke(app, arguments).exception
    assert isinstance(error, MaskloopError)
    return str(error)


def no_worker(_settings: Settings) -> Worker:
    raise AssertionError("no work should be begun")


def encoded(log: Path) -> Counter[str]:
    """How often each photo was encoded."""
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def file_names(document: Path) -> list[str]:
    return [image["file_name"] for image in json.loads(document.read_text())["images"]]


def test_a_folder_becomes_a_coco_file_and_pictures_to_look_at(tmp_path: Path, photos: Path) -> None:
    ran = annotate(tmp_path, "photos", "--out", "out/coco.json", "--format", "coco", "--preview")
    assert ran.returncode == 0, ran.stderr
    coco = COCO(str(tmp_path / "out" / "coco.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == [f"{n:02}.png" for n in range(5)]
    assert len(coco.anns) == 20
    assert all(coco.annToMask(each).sum() == each["area"] for each in coco.anns.values())
    assert {path.name for path in (tmp_path / "out" / "coco-preview").iterdir()} == {
        f"{n:02}.png.png" for n in range(5)
    }
    assert "5 photos with 20 segments" in ran.stderr


def test_a_yolo_folder_has_what_training_needs(tmp_path: Path, photos: Path) -> None:
    ran = annotate(tmp_path, photos, "--out", "yolo", "--format", "yolo", "--yolo", "boxes", "--label", "naïve: #1")
    assert ran.returncode == 0, ran.stderr
    assert yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())["names"] == {0: "naïve: #1"}
    for number in range(5):
        assert Pillow.open(tmp_path / "yolo" / "images" / f"{number:02}.png").size == (200, 100)
        lines = (tmp_path / "yolo" / "labels" / f"{number:02}.txt").read_text().splitlines()
        assert [len(line.split()) for line in lines] == [5] * 4


def test_label_studio_tasks_point_to_where_it_serves_the_photos(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["photos", "--out", "ls", "--format", "labelstudio", "--label", "Thing"]
    assert "--local-files-root" in refused(tmp_path, monkeypatch, *arguments)
    ran = annotate(tmp_path, *arguments, "--local-files-root", ".")
    assert ran.returncode == 0, ran.stderr
    tasks = json.loads((tmp_path / "ls" / "tasks.json").read_text())
    assert [task["data"]["image"] for task in tasks] == [f"/data/local-files/?d=photos/{n:02}.png" for n in range(5)]
    assert all(len(task["predictions"][0]["result"]) == 4 for task in tasks)
    assert 'value="Thing"' in (tmp_path / "ls" / "tasks.config.xml").read_text()


def test_a_photo_of_standard_input_that_label_studio_cannot_reach_stops_the_run_at_once(
    tmp_path: Path, photos: Path, gate: Callable[[int], None]
) -> None:
    run = start(tmp_path, "-", "--out", "ls", "--format", "labelstudio")
    assert run.stdin
    run.stdin.write("photos/00.png\n")  # and more to come
    run.stdin.flush()
    try:
        assert run.wait(100) == 1
        assert run.stderr
        assert "--local-files-root" in run.stderr.read()
    finally:
        run.kill()
        run.communicate()


def test_a_class_that_the_labeling_configuration_lacks_is_refused(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.xml").write_text(config_for(["Cat"]))
    arguments = [
        "photos",
        "--out",
        "ls",
        "--format",
        "labelstudio",
        "--label-config",
        "config.xml",
        "--image-url",
        "x/",
    ]
    assert "no place for 'Dog'" in refused(tmp_path, monkeypatch, *arguments, "--label", "Dog")
    assert annotate(tmp_path, *arguments).returncode == 0
    assert '"brushlabels": ["Cat"]' in (tmp_path / "ls" / "tasks.json").read_text()


def test_what_is_skipped_is_listed_with_the_reason_the_rest_is_done_and_the_status_says_so(
    tmp_path: Path, photos: Path
) -> None:
    (photos / "bad \n☃.jpg").write_text("no image")
    ran = annotate(tmp_path, "photos", "--out", "coco.json", "--format", "coco", "--batch-size", "3")
    assert ran.returncode == 1
    assert len(file_names(tmp_path / "coco.json")) == 5
    assert "bad \n☃.jpg: " in ran.stderr
    assert "no image of a known format" in ran.stderr

    (photos / "bad \n☃.jpg").unlink()
    Pillow.new("RGB", (200, 100)).save(photos / "bad \n☃.jpg", "PNG")
    again = annotate(tmp_path, "photos", "--out", "coco.json", "--format", "coco", ANNOTATE_LOG=str(tmp_path / "log"))
    assert again.returncode == 0, again.stderr
    assert len(file_names(tmp_path / "coco.json")) == 6
    assert sum(encoded(tmp_path / "log").values()) == 1


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """``gate(n)`` lets n photos through."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    fifo = os.open(path, os.O_RDWR)
    yield lambda count: os.write(fifo, b"x" * count) and None
    os.close(fifo)


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_in_the_middle_and_run_again_no_photo_is_lost_and_none_that_was_done_is_done_twice(
    tmp_path: Path, gate: Callable[[int], None], until: Callable[..., None], processes: int
) -> None:
    make_photos(tmp_path / "photos", 20)
    log, journal = tmp_path / "log", tmp_path / "out" / ".journal"
    arguments = ["photos", "--out", "out", "--format", "coco", "--processes", str(processes)]
    gated = environment(tmp_path, ANNOTATE_LOG=str(log), ANNOTATE_GATE=str(tmp_path / "gate"))
    run = subprocess.Popen([sys.executable, APP, *arguments, *FEW], cwd=tmp_path, env=gated, start_new_session=True)
    gate(8)
    until(lambda: journal.exists() and len(journal.read_text().splitlines()) == 9, timeout=100)
    workers = children(run.pid)
    assert len(workers) >= processes
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    done = encoded(log)
    assert len(done) == 8
    assert not (tmp_path / "out" / "annotations.json").exists()

    again = annotate(tmp_path, *arguments, ANNOTATE_LOG=str(log))
    assert again.returncode == 0, again.stderr
    assert file_names(tmp_path / "out" / "annotations.json") == [f"{number:02}.png" for number in range(20)]
    assert encoded(log) == Counter(dict.fromkeys(encoded(log), 1))
    assert len(encoded(log)) == 20


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def test_ctrl_c_finishes_the_photos_under_way_and_keeps_them(
    tmp_path: Path, photos: Path, gate: Callable[[int], None], until: Callable[..., None]
) -> None:
    journal = tmp_path / "out" / ".journal"
    arguments = ["photos", "--out", "out", "--format", "coco", "--processes", "1"]
    run = start(tmp_path, *arguments, own_session=True)
    gate(1)
    until(lambda: journal.exists() and len(journal.read_text().splitlines()) == 2, timeout=100)
    os.killpg(run.pid, signal.SIGINT)
    assert run.stderr
    gate(4)
    said = run.stderr.read()
    assert run.wait() == 130, said
    assert "The same command goes on from here" in said
    assert 2 <= len(journal.read_text().splitlines()) - 1 < 5
    assert not (tmp_path / "out" / "annotations.json").exists()
    assert annotate(tmp_path, *arguments).returncode == 0
    assert len(file_names(tmp_path / "out" / "annotations.json")) == 5


@pytest.fixture
def start_cluster(tmp_path: Path, redis: Redis, redis_server: str, until: Callable[..., None]) -> Iterator[Workers]:
    """``start_cluster(count, NAME="value")`` starts batch workers with that in their environment."""
    with ExitStack() as stack:

        def start(count: int, **env: str) -> None:
            command = [sys.executable, APP, "--worker", redis_server]
            for _ in range(count):
                worker = stack.enter_context(subprocess.Popen(command, env=environment(tmp_path, **env)))
                stack.callback(worker.kill)
            until(lambda: len(overview(redis)[QueueName.BATCH].workers) == count, timeout=100)

        yield start


@pytest.mark.parametrize("where", ["processes", "cluster"])
def test_a_second_ctrl_c_waits_for_nothing(
    tmp_path: Path,
    photos: Path,
    gate: Callable[[int], None],
    until: Callable[..., None],
    redis_server: str,
    start_cluster: Workers,
    where: str,
) -> None:
    gated = {"ANNOTATE_GATE": str(tmp_path / "gate")}
    if where == "cluster":
        start_cluster(1, **gated)
    there = ["--redis-url", redis_server] if where == "cluster" else ["--processes", "1"]
    run = start(tmp_path, "photos", "--out", "out", "--format", "coco", *there)
    journal = tmp_path / "out" / ".journal"
    gate(1)
    until(lambda: journal.exists() and len(journal.read_text().splitlines()) == 2, timeout=100)
    workers = children(run.pid)
    run.send_signal(signal.SIGINT)
    assert run.stderr
    assert any("Ctrl-C again" in line for line in run.stderr)
    run.send_signal(signal.SIGINT)
    try:
        assert run.wait(20) == 130
    finally:
        run.kill()
        run.stderr.close()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert len(journal.read_text().splitlines()) == 2


def test_with_redis_the_workers_of_the_cluster_do_the_work(
    tmp_path: Path, photos: Path, redis_server: str, start_cluster: Workers
) -> None:
    log = tmp_path / "log"
    start_cluster(2, ANNOTATE_LOG=str(log))
    ran = annotate(tmp_path, "photos", "--out", "c.json", "--format", "coco", "--redis-url", redis_server)
    assert ran.returncode == 0, ran.stderr
    assert len(file_names(tmp_path / "c.json")) == 5
    assert sorted(encoded(log).values()) == [1] * 5


def test_a_cluster_without_workers_is_said_at_once(
    tmp_path: Path, photos: Path, redis: Redis, redis_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["photos", "--out", "c.json", "--format", "coco", "--redis-url", redis_server]
    assert "No batch worker is running" in refused(tmp_path, monkeypatch, *arguments)


def test_boxes_prompt_the_masks_and_those_without_a_photo_are_told(tmp_path: Path, photos: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "00.png"}, {"id": 2, "file_name": "gone.png"}],
        "annotations": [{"image_id": image, "category_id": 3, "bbox": [20, 10, 40, 40]} for image in (1, 2)],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    ran = annotate(tmp_path, "photos", "--out", "c.json", "--format", "coco", "--boxes", "boxes.json")
    assert ran.returncode == 1
    assert "gone.png: It has boxes, and is not in the source." in ran.stderr
    coco = COCO(str(tmp_path / "c.json"))
    assert len(coco.imgs) == 5
    [annotation] = coco.anns.values()
    assert coco.cats[annotation["category_id"]]["name"] == "cat"
    assert coco.imgs[annotation["image_id"]]["file_name"] == "00.png"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing", "--out", "c.json"], "There is no missing"),
        (["photos", "--out", "photos/00.png"], "can't be written"),
        (["photos", "--out", "c.json", "--classes", "cat,dog"], "automatic masks don't know theirs"),
        (["photos", "--out", "c.json", "--classes", "cat,dog", "--label", "horse"], "horse is not among the classes"),
        (["photos", "--out", "c.json", "--classes", "cat,cat"], "cat twice"),
        (["photos", "--out", "c.json", "--classes", ",".join(f"class {n}" for n in range(80))], "There are 80 classes"),
        (["photos", "--out", "c.json", "--classes", "photos/00.png"], "no text in UTF-8"),
        (["photos", "--out", "c.json", "--classifier", "birds"], "no classes called 'birds'"),
        (["photos", "--out", "c.json", "--boxes", "missing.json"], "missing.json can't be read"),
        (["photos", "--out", "c.json", "--boxes", "photos/00.png"], "can't be understood"),
        (["photos", "--out", "nonsense://x"], "nonsense://"),
    ],
)
def test_what_cannot_work_is_said_before_any_work(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    assert said in refused(tmp_path, monkeypatch, *arguments, "--format", "coco")


def test_learned_classes_must_be_among_the_named_ones(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = np.random.default_rng(0).normal(size=(6, LOOKS_LENGTH))
    pets = fit(looks, ["cat"] * 3 + ["dog"] * 3, list("abcabc"))
    Classifiers(tmp_path / "data" / "models").put("pets", pets)
    arguments = ["photos", "--out", "c.json", "--format", "coco", "--classifier", "pets"]
    assert "dog are not among: horse, cat" in refused(tmp_path, monkeypatch, *arguments, "--classes", "horse,cat")
    assert "asks for none" in refused(tmp_path, monkeypatch, *arguments, "--boxes", write_boxes(tmp_path))


def test_a_photo_replaced_under_its_name_is_done_again_and_no_other(tmp_path: Path, photos: Path) -> None:
    arguments, log = ["photos", "--out", "c.json", "--format", "coco"], tmp_path / "log"
    assert annotate(tmp_path, *arguments, ANNOTATE_LOG=str(log)).returncode == 0
    Pillow.new("RGB", (200, 120), (9, 9, 9)).save(photos / "01.png")
    assert annotate(tmp_path, *arguments, ANNOTATE_LOG=str(log)).returncode == 0
    assert encoded(log).total() == 6
    assert encoded(log)["[9.0, 9.0, 9.0]"] == 1
    heights = {image["file_name"]: image["height"] for image in json.loads((tmp_path / "c.json").read_text())["images"]}
    assert heights == {f"{number:02}.png": 120 if number == 1 else 100 for number in range(5)}


def write_boxes(tmp_path: Path) -> str:
    document = {
        "images": [{"id": 1, "file_name": "00.png"}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 50]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(document))
    return str(tmp_path / "boxes.json")


def test_other_options_do_not_mix_with_an_earlier_run_unless_it_is_forgotten(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["photos", "--out", "c.json", "--format", "coco"]
    assert annotate(tmp_path, *arguments).returncode == 0
    assert "label: object then, cat now" in refused(tmp_path, monkeypatch, *arguments, "--label", "cat")
    assert annotate(tmp_path, *arguments, "--label", "cat", "--fresh").returncode == 0
    assert json.loads((tmp_path / "c.json").read_text())["categories"] == [{"id": 1, "name": "cat"}]


def test_other_classes_for_the_same_boxes_are_other_options(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps([{"image_id": "00", "category_id": 1, "bbox": [20, 10, 40, 40]}]))
    arguments = ["photos", "--out", "c.json", "--format", "coco", "--boxes", "boxes.json", "--classes"]
    assert annotate(tmp_path, *arguments, "cat,dog").returncode == 0
    for classes in ("dog,cat", "horse"):
        assert "boxes and their classes" in refused(tmp_path, monkeypatch, *arguments, classes)
    assert annotate(tmp_path, *arguments, "dog,cat", "--fresh").returncode == 0
    coco = COCO(str(tmp_path / "c.json"))
    assert [coco.cats[each["category_id"]]["name"] for each in coco.anns.values()] == ["dog"]


def test_several_sources_as_a_shell_makes_them_of_a_glob(tmp_path: Path, photos: Path) -> None:
    ran = annotate(tmp_path, "photos/00.png", "photos/01.png", "photos", "--out", "c.json", "--format", "coco")
    assert ran.returncode == 0, ran.stderr
    assert file_names(tmp_path / "c.json") == [f"{number:02}.png" for number in range(5)]


def test_photos_of_several_folders_are_found_from_the_one_that_holds_them(tmp_path: Path, photos: Path) -> None:
    for name in ("a", "b/deep"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        Pillow.open(photos / "00.png").save(tmp_path / "sets" / name / "00.png")
    ran = annotate(tmp_path, "sets/a", "sets/b", "--out", "c.json", "--format", "coco")
    assert ran.returncode == 0, ran.stderr
    assert file_names(tmp_path / "c.json") == ["a/00.png", "b/deep/00.png"]
    assert f"relative to {tmp_path / 'sets'}." in ran.stderr.replace("\n", "")


def test_the_files_of_an_editor_that_marks_utf8(tmp_path: Path, photos: Path) -> None:
    boxes = json.dumps([{"image_id": "00", "category_id": 1, "bbox": [20, 10, 40, 40]}])
    (tmp_path / "boxes.json").write_text("\ufeff" + boxes)
    (tmp_path / "classes.txt").write_text("\ufeffcat\ndog\n")
    arguments = ["photos", "--out", "c.json", "--format", "coco", "--boxes", "boxes.json", "--classes", "classes.txt"]
    ran = annotate(tmp_path, *arguments)
    assert ran.returncode == 0, ran.stderr
    assert [each["name"] for each in json.loads((tmp_path / "c.json").read_text())["categories"]] == ["cat", "dog"]


def test_a_data_directory_that_cannot_be_made_is_a_sentence(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").touch()
    assert "data directory" in refused(tmp_path, monkeypatch, "photos", "--out", "c.json", "--format", "coco")


def test_a_run_in_the_photos_folder_does_not_annotate_its_own_output(tmp_path: Path, photos: Path) -> None:
    log = tmp_path / "log"
    for _ in range(2):
        ran = annotate(photos, ".", "--out", ".", "--format", "yolo", "--preview", ANNOTATE_LOG=str(log))
        assert ran.returncode == 0, ran.stderr
        assert (photos / "train.txt").read_text().splitlines() == [f"./images/{number:02}.png" for number in range(5)]
    assert encoded(log).total() == 5


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_what_no_earlier_run_made_is_not_replaced(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, fresh: tuple[str, ...]
) -> None:
    (tmp_path / "mine.json").write_text("by hand")
    (photos / "images").mkdir()
    (tmp_path / "tasks-preview").mkdir()
    for out in (
        ["mine.json", "--format", "coco"],
        ["photos", "--format", "yolo"],
        ["tasks.json", "--format", "labelstudio", "--image-url", "x/", "--preview"],
        [f"file://{tmp_path}/mine.json", "--format", "coco"],
    ):
        said = refused(tmp_path, monkeypatch, "photos", "--out", *out, *fresh)
        assert "already, and not of an earlier run" in said
    assert (tmp_path / "mine.json").read_text() == "by hand"
    boxes = write_boxes(tmp_path)
    arguments = ["photos", "--out", boxes, "--format", "coco", "--boxes", boxes]
    assert "boxes.json is in" in refused(tmp_path, monkeypatch, *arguments)


@pytest.mark.parametrize("fresh", [(), ("--fresh",)])
def test_a_run_in_one_format_does_not_let_another_replace_what_lay_there(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, fresh: tuple[str, ...]
) -> None:
    (photos / "images").mkdir()
    mine = photos / "images" / "mine.png"
    Pillow.new("RGB", (200, 100), (9, 9, 9)).save(mine)
    content = mine.read_bytes()
    assert annotate(tmp_path, "photos", "--out", "photos", "--format", "coco").returncode == 0
    assert len(file_names(photos / "annotations.json")) == 6
    arguments = ["photos", "--out", "photos", "--format", "yolo", *fresh]
    assert "images is in" in refused(tmp_path, monkeypatch, *arguments)
    ran = annotate(tmp_path, *arguments, "--yolo-photos", "none")
    assert ran.returncode == 0, ran.stderr
    assert "6 photos" in ran.stderr
    assert "images is in" in refused(tmp_path, monkeypatch, *arguments)
    assert not mine.is_symlink()
    assert mine.read_bytes() == content


def test_a_yolo_folder_that_has_its_photos_already_gets_its_labels(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ds").mkdir()
    photos.rename(tmp_path / "ds" / "images")
    for source in ("ds", "ds/images"):
        said = refused(tmp_path, monkeypatch, source, "--out", "ds", "--format", "yolo")
        assert "images is in" in said
        assert "name it as SOURCE, with --yolo-photos none" in said
    for source in ("ds/images", "ds"):
        ran = annotate(tmp_path, source, "--out", "ds", "--format", "yolo", "--yolo-photos", "none")
        assert ran.returncode == 0, ran.stderr
        listed = (tmp_path / "ds" / "train.txt").read_text().splitlines()
        assert listed == [f"./images/{number:02}.png" for number in range(5)]
        assert len([*(tmp_path / "ds" / "labels").rglob("*.txt")]) == 5
    Pillow.open(tmp_path / "ds" / "images" / "00.png").save(tmp_path / "ds" / "images" / "00.bmp")
    said = refused(tmp_path, monkeypatch, "ds", "--out", "ds", "--format", "yolo", "--yolo-photos", "none")
    assert "00.bmp and 00.png would share one file of labels" in said


def test_what_came_during_the_run_is_not_replaced(
    tmp_path: Path, photos: Path, gate: Callable[[int], None], until: Callable[..., None]
) -> None:
    run = start(tmp_path, "photos", "--out", "c.json", "--format", "coco")
    try:
        until(lambda: (tmp_path / "c.json.journal").exists(), timeout=100)
        (tmp_path / "c.json").write_text("by hand")
        gate(5)
        _, said = run.communicate(timeout=100)
    finally:
        run.kill()
        run.communicate()
    assert "c.json is in" in said
    assert (tmp_path / "c.json").read_text() == "by hand"
    (tmp_path / "c.json").unlink()
    log = tmp_path / "log"
    again = annotate(tmp_path, "photos", "--out", "c.json", "--format", "coco", ANNOTATE_LOG=str(log))
    assert again.returncode == 0, again.stderr
    assert not encoded(log)


def test_a_run_finds_no_output_of_earlier_ones_in_other_formats(tmp_path: Path, photos: Path) -> None:
    assert annotate(photos, ".", "--out", ".", "--format", "yolo", "--preview").returncode == 0
    assert annotate(photos, ".", "--out", ".", "--format", "coco").returncode == 0
    assert file_names(photos / "annotations.json") == [f"{number:02}.png" for number in range(5)]


def test_a_folder_of_photos_called_preview_is_like_any_other_without_previews(tmp_path: Path, photos: Path) -> None:
    photos.rename(tmp_path / "preview")
    ran = annotate(tmp_path, "preview", "--out", ".", "--format", "coco")
    assert ran.returncode == 0, ran.stderr
    assert len(file_names(tmp_path / "annotations.json")) == 5


def test_a_promotion_in_between_does_not_mix_two_models(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["photos", "--out", "c.json", "--format", "coco"]
    assert annotate(tmp_path, *arguments).returncode == 0
    promoted = tmp_path / "data" / "models" / "service.json"
    promoted.parent.mkdir(parents=True, exist_ok=True)
    promoted.write_text('[{"name": "official"}, {"name": "v1"}]')
    assert "model: official then, v1 now" in refused(tmp_path, monkeypatch, *arguments)
    assert annotate(tmp_path, *arguments, "--model", "official").returncode == 0


def test_a_photo_that_a_list_names_twice_is_done_once(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "list.txt").write_text("photos/00.png\nphotos/../photos/00.png\n" + str(photos / "01.png") + "\n")
    ran = annotate(tmp_path, "list.txt", "--out", "c.json", "--format", "coco")
    assert ran.returncode == 0, ran.stderr
    assert file_names(tmp_path / "c.json") == ["photos/00.png", "photos/01.png"]
