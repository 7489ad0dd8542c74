"""A mistake in the settings, a folder or a name is a sentence, and told before the work."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image as PillowImage

from maskloop.cli import evaluate
from maskloop.cli.main import COMMANDS, load
from maskloop.cli.options import load as load_settings
from maskloop.errors import BadRequest
from maskloop.learning.store import open_store
from maskloop.settings import Settings

ARGUMENTS = {
    "weights": ["verify"],
    "models": ["list"],
    "sync": ["--project", "1"],
    "report": ["--project", "1"],
    "train": ["--images", ".", "--annotations", "a.json", "--name", "new"],
    "classes": ["--images", ".", "--annotations", "a.json", "--name", "new"],
}


def make_engine() -> None:
    import_module("maskloop.cli.wiring").make_engine(None, None)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_every_command_names_the_variable_at_fault(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_PORT", "abc")
    with pytest.raises(BadRequest, match="MASKLOOP_PORT"):
        load(COMMANDS[name])(args=ARGUMENTS[name])


@pytest.mark.parametrize("engine", [None, "torch-cpu"])
def test_what_measures_names_the_variable_at_fault(engine: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_PORT", "abc")
    with pytest.raises(BadRequest, match="MASKLOOP_PORT"):
        import_module("maskloop.cli.wiring").make_engine(None, engine)


@pytest.mark.parametrize("url", ["nonsense", "http://host", "redis://host:port"])
@pytest.mark.parametrize("variable", ["MASKLOOP_REDIS_URL", "MASKLOOP_SHARED_CACHE_REDIS_URL"])
def test_no_address_of_a_redis(url: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, url)
    with pytest.raises(BadRequest, match=variable):
        load_settings()


def test_a_flag_that_is_no_address_of_a_redis(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="MASKLOOP_REDIS_URL"):
        load(COMMANDS["annotate"])(args=[str(tmp_path), "--out", "o", "--format", "coco", "--redis-url", "nonsense"])


@pytest.mark.parametrize("given", ["MASKLOOP_BASIC_AUTH_USER", "MASKLOOP_BASIC_AUTH_PASS"])
def test_half_a_credential_is_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user alone would be let in with an empty password. The other half is named, and what was given isn't."""
    (missing,) = {"MASKLOOP_BASIC_AUTH_USER", "MASKLOOP_BASIC_AUTH_PASS"} - {given}
    monkeypatch.setenv(given, "s3cret")
    with pytest.raises(BadRequest, match=f"{missing} is missing") as raised:
        load_settings()
    assert "s3cret" not in f"{raised.value} {raised.value.__cause__}"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MASKLOOP_REDIS_URL", "LABEL_STUDIO_URL", "MASKLOOP_PORT"):
        monkeypatch.setenv(variable, "")
    assert load_settings() == Settings()


@pytest.mark.parametrize(
    "variable",
    [
        "MASKLOOP_MAX_IMAGE_BYTES",
        "MASKLOOP_MAX_IMAGE_PIXELS",
        "MASKLOOP_IMAGE_TIMEOUT",
        "MASKLOOP_CLICK_DEADLINE",
        "MASKLOOP_BATCH_DEADLINE",
        "MASKLOOP_MAX_WAITING_CLICKS",
        "MASKLOOP_MAX_WAITING_TASKS",
    ],
)
def test_a_limit_at_which_nothing_would_be_done(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "0")
    with pytest.raises(BadRequest, match=variable):
        load_settings()


def test_photos_to_measure_on_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="nowhere holds no JPEG or PNG"):
        load(COMMANDS["bench"])(args=["--images", str(tmp_path / "nowhere")])


@pytest.mark.parametrize(
    ("given", "told"),
    [([], "either a project or a file"), (["--project", "1", "--from", "a"], "either"), (["--from", "a"], "no file a")],
)
def test_what_is_no_source_of_feedback(
    given: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path))
    with pytest.raises(BadRequest, match=told):
        load(COMMANDS["sync"])(args=given)


@pytest.mark.parametrize("url", ["nonsense", "mysql://host", "levitating://host", "postgresql://host:port/name"])
def test_no_address_of_a_database(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKLOOP_DATABASE_URL", url)
    with pytest.raises(BadRequest, match="MASKLOOP_DATABASE_URL"):
        open_store(Settings())


WRITERS: dict[str, Callable[[], None]] = {
    "serve": lambda: load(COMMANDS["serve"])(args=["--port", "0"]),
    "evaluate": make_engine,
    "promote": lambda: load(COMMANDS["models"])(args=["promote", "official", "--force"]),
    **{name: lambda name=name: load(COMMANDS[name])(args=ARGUMENTS[name]) for name in ("train", "report", "classes")},
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nope"])
def test_a_data_directory_that_can_not_be_written(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no directory")
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path / place))
    with pytest.raises(BadRequest, match=rf"{place} can't be written: .* MASKLOOP_DATA_DIR"):
        WRITERS[name]()


@pytest.mark.parametrize("place", [".", "nowhere/file", "file/below"])
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "--images", ".", "--annotations", "unread.json", "--json"],
        ["bench", "--json"],
        ["report", "--project", "1", "--output"],
    ],
    ids=lambda command: command[0],
)
def test_where_the_outcome_can_not_go_is_said_first(
    command: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(BadRequest, match="can't be written"):
        load(COMMANDS[command[0]])(args=[*command[1:], str(tmp_path / place)])
    assert not (tmp_path / "data").exists()


def test_figures_that_no_file_takes_are_shown_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The disk may have filled since the check."""
    with pytest.raises(BadRequest, match="can't be written"):
        evaluate._tell({"click": 0.815}, str(tmp_path / "nowhere" / "figures.json"))
    assert "0.815" in capsys.readouterr().out


def test_classes_are_not_learned_for_a_name_they_can_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photos, which aren't there, are not even looked for."""
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(BadRequest, match="Classes can't be called 'a/b'"):
        load(COMMANDS["classes"])(args=["--images", "nowhere", "--annotations", "nowhere.json", "--name", "a/b"])


@pytest.mark.weights
def test_what_the_gate_was_not_asked_about_says_so_when_it_is_made(
    tmp_path: Path, official_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not only when somebody wants to promote it, and finds it refused."""
    images, annotations = tmp_path / "images", tmp_path / "instances.json"
    images.mkdir()
    PillowImage.new("L", (96, 64), 90).save(images / "a.png")
    square = {"segmentation": [[20, 20, 50, 20, 50, 50, 20, 50]], "bbox": [20, 20, 30, 30], "area": 900, "iscrowd": 0}
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 96, "height": 64}],
        "categories": [{"id": 1, "name": "square"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1} | square],
    }
    annotations.write_text(json.dumps(document))
    monkeypatch.setenv("MASKLOOP_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MASKLOOP_WEIGHTS_DIR", str(official_weights.parent))
    monkeypatch.setenv("MASKLOOP_ENGINE", "torch-cpu")
    arguments = ["--images", str(images), "--annotations", str(annotations), "--name", "new"]
    load(COMMANDS["train"])(args=[*arguments, "--epochs", "1", "--views", "1"], standalone_mode=False)
    assert "`maskloop models promote new` wants --force" in capsys.readouterr().out
    with pytest.raises(BadRequest, match="The gate wasn't asked"):
        load(COMMANDS["models"])(args=["promote", "new"])
