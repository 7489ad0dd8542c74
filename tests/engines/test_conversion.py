"""A network is converted once; what a crash or another version left behind is never used."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskloop.engines import conversion
from maskloop.engines.conversion import kept
from maskloop.engines.openvino_without_telemetry import openvino


def doubling() -> openvino.Model:
    """A model as small as can be, with a constant so that it has weights."""
    given = openvino.opset15.parameter([-1], np.float32)
    factor = openvino.opset15.constant(np.full(1, 2, np.float32))
    return openvino.Model([openvino.opset15.multiply(given, factor)], [given], "doubling")


def no_conversion() -> openvino.Model:
    raise AssertionError("converted again")


def doubles(model: openvino.Model) -> bool:
    answer = openvino.Core().compile_model(model, "CPU")([np.arange(3, dtype=np.float32)])[0]
    return np.array_equal(answer, [0, 2, 4])


def the_folder(cache: Path) -> Path:
    (folder,) = cache.iterdir()
    return folder


def test_is_converted_once(tmp_path: Path) -> None:
    assert doubles(kept(tmp_path / "new", "encoder", "key", doubling))
    assert doubles(kept(tmp_path / "new", "encoder", "key", no_conversion))


def test_other_weights_another_openvino_and_other_code_convert_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(tmp_path, "encoder", "key", doubling)
    for change in (
        lambda: kept(tmp_path, "encoder", "other", no_conversion),
        lambda: kept(tmp_path, "decoder", "key", no_conversion),
    ):
        with pytest.raises(AssertionError, match="converted again"):
            change()
    monkeypatch.setattr(conversion, "build", lambda: "changed")
    with pytest.raises(AssertionError, match="converted again"):
        kept(tmp_path, "encoder", "key", no_conversion)
    monkeypatch.undo()
    monkeypatch.setattr(openvino, "__version__", "another")
    with pytest.raises(AssertionError, match="converted again"):
        kept(tmp_path, "encoder", "key", no_conversion)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:-1]),
        lambda folder: (folder / "model.bin").write_bytes(b"\xff" * (folder / "model.bin").stat().st_size),
        lambda folder: (folder / "model.xml").write_text("<net"),
        lambda folder: (folder / "model.xml").unlink(),
        lambda folder: (folder / "sha256").unlink(),
        lambda folder: (folder / "sha256").write_text(""),
    ],
)
def test_what_is_not_whole_is_converted_anew(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    kept(tmp_path, "encoder", "key", doubling)
    damage(the_folder(tmp_path))
    with pytest.raises(AssertionError, match="converted again"):
        kept(tmp_path, "encoder", "key", no_conversion)
    assert doubles(kept(tmp_path, "encoder", "key", doubling))
    assert doubles(kept(tmp_path, "encoder", "key", no_conversion)), "and is whole again"


def test_a_crash_while_writing_leaves_nothing_that_would_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(folder: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(conversion, "checksum", crash)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path, "encoder", "key", doubling)
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_those_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "KEPT", 2)
    for key in ("first", "second"):
        kept(tmp_path, "encoder", key, doubling)
    for folder in tmp_path.iterdir():
        os.utime(folder, (0, 0))
    kept(tmp_path, "encoder", "first", no_conversion)
    kept(tmp_path, "encoder", "third", doubling)
    for key in ("first", "third"):
        kept(tmp_path, "encoder", key, no_conversion)
    with pytest.raises(AssertionError, match="converted again"):
        kept(tmp_path, "encoder", "second", no_conversion)


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    for name, age in (("killed", 2 * conversion.ABANDONED), ("at work", 0.0)):
        part = tmp_path / f".encoder-0.{name}.part"
        part.mkdir()
        os.utime(part, (time.time() - age,) * 2)
    kept(tmp_path, "encoder", "key", doubling)
    assert [part.name for part in tmp_path.glob(".*")] == [".encoder-0.at work.part"]


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert doubles(kept(tmp_path / "file" / "cache", "encoder", "key", doubling))
    assert "can't be kept" in caplog.text


def test_no_folder_is_no_cache() -> None:
    assert doubles(kept(None, "encoder", "key", doubling))
