"""A machine gets the fastest engine that works there and is accurate, and is told why if that isn't the fastest."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from maskloop.engines import choose
from maskloop.engines.choose import choose_engine
from maskloop.engines.network_engine import NetworkEngine
from maskloop.engines.torch_engine import TorchEngine
from maskloop.errors import WeightsError
from maskloop.sam.network import MobileSam, load_model


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def fp32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU without bf16: there is less to compare with PyTorch's answers, which takes seconds."""
    monkeypatch.setattr(choose, "has_bf16", lambda: False)


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for module in [name for name in sys.modules if name.startswith("maskloop.engines.openvino")]:
        monkeypatch.delitem(sys.modules, module)


def test_openvino_is_taken_where_it_is(random_weights: Path, converted_dir: Path) -> None:
    pytest.importorskip("openvino")
    engine = choose_engine(random_weights, threads=1, cache_dir=converted_dir)
    assert (engine.name, engine.note) == ("openvino-cpu-fp32", "")


@pytest.mark.usefixtures("without_openvino")
@pytest.mark.parametrize("kind", ["auto", "openvino"])
def test_without_openvino_torch_serves_and_says_why(
    random_weights: Path, caplog: pytest.LogCaptureFixture, kind: choose.Kind
) -> None:
    engine = choose_engine(random_weights, kind, threads=1)
    assert engine.name == "torch-cpu-fp32"
    assert "openvino" in engine.note
    assert [record.message for record in caplog.records if engine.note in record.message], "one clear line in the log"


def test_openvino_failing_is_the_same(random_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: MobileSam, **_: object) -> NetworkEngine:
        raise RuntimeError("unsupported CPU\nand a long trace")

    monkeypatch.setattr(choose, "openvino_on_cpu", broken)
    engine = choose_engine(random_weights, threads=1)
    assert (engine.name, engine.note) == ("torch-cpu-fp32", "openvino-cpu-fp32: unsupported CPU")


def test_what_is_asked_for_is_what_runs(random_weights: Path) -> None:
    engine = choose_engine(random_weights, "torch-cpu", threads=1)
    assert (engine.name, engine.note) == ("torch-cpu-fp32", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said(random_weights: Path, converted_dir: Path) -> None:
    engine = choose_engine(random_weights, "torch-cuda", threads=1, cache_dir=converted_dir)
    assert "-cpu-" in engine.name
    assert engine.note.startswith("torch-cuda-bf16: PyTorch sees no GPU here; it is built ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_pytorch_can_not_use_is_said_unasked(
    random_weights: Path, converted_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "has_nvidia_driver", lambda: True)
    engine = choose_engine(random_weights, threads=1, cache_dir=converted_dir)
    assert "-cpu-" in engine.name
    assert "sees no GPU" in engine.note


def test_a_file_that_is_no_weights_is_an_error_not_a_reason(tmp_path: Path) -> None:
    (tmp_path / "bad.pt").write_bytes(b"bad")
    with pytest.raises(WeightsError):
        choose_engine(tmp_path / "bad.pt", "torch-cpu", threads=1)


class Drifting(TorchEngine):
    """Fast, and wrong by ``drift``."""

    def __init__(self, model: MobileSam, drift: float, name: str = "drifting-fp32") -> None:
        super().__init__(model)
        self.name = name
        self.drift = drift

    def run_encoder(self, squares: np.ndarray) -> np.ndarray:
        features = super().run_encoder(squares)
        noise = np.random.default_rng(0).normal(0, self.drift * features.astype(np.float32).std(), features.shape)
        return features + noise.astype(np.float16)


@pytest.mark.parametrize(("drift", "chosen"), [(0.02, "drifting-fp32"), (0.2, "torch-cpu-fp32")])
def test_an_engine_that_answers_otherwise_than_torch_is_passed_over(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drift: float, chosen: str
) -> None:
    monkeypatch.setattr(choose, "openvino_on_cpu", lambda model, **_: Drifting(model, drift))
    for _ in range(2):  # the second time from the record
        engine = choose_engine(random_weights, threads=1, cache_dir=tmp_path)
        assert engine.name == chosen
        assert ("differ" in engine.note) == (chosen == "torch-cpu-fp32")
        monkeypatch.setattr("maskloop.engines.gate.relative_error", None)


def test_an_engine_of_another_version_is_compared_anew(
    random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def updated(drift: float, build: str) -> NetworkEngine:
        engine = Drifting(load_model(random_weights), drift)
        engine.build = build
        monkeypatch.setattr(choose, "openvino_on_cpu", lambda *_, **__: engine)
        return choose_engine(random_weights, threads=1, cache_dir=tmp_path)

    assert updated(0.0, "1").name == "drifting-fp32"
    assert updated(0.2, "1").name == "drifting-fp32", "as recorded"
    assert "differ" in updated(0.2, "2").note


class Gpu:
    """A GPU of this model that isn't there: its engine runs on the CPU, wrong by ``drift``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.model, self.drift, self.full = "A", 0.0, False
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: self.model)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(choose, "torch_on_cuda", self.engine)

    def engine(self, model: MobileSam, precision: str) -> NetworkEngine:
        engine = Drifting(model, self.drift, f"torch-cuda-{precision}")
        if self.full:
            engine.run_encoder = self.no_room  # type: ignore[method-assign]
        return engine

    def no_room(self, _: np.ndarray) -> np.ndarray:
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    return Gpu(monkeypatch)


@pytest.mark.usefixtures("without_openvino")
def test_a_gpu_without_room_for_a_photo_is_passed_over_in_any_precision(
    random_weights: Path, tmp_path: Path, gpu: Gpu
) -> None:
    assert choose_engine(random_weights, threads=1, cache_dir=tmp_path).name == "torch-cuda-bf16"
    gpu.full = True
    engine = choose_engine(random_weights, threads=1, cache_dir=tmp_path)
    assert engine.name == "torch-cpu-fp32"
    assert "out of memory" in engine.note


@pytest.mark.usefixtures("without_openvino")
def test_each_model_of_gpu_is_compared(random_weights: Path, tmp_path: Path, gpu: Gpu) -> None:
    assert choose_engine(random_weights, threads=1, cache_dir=tmp_path).name == "torch-cuda-bf16"
    gpu.model, gpu.drift = "B", 0.2
    assert "differ" in choose_engine(random_weights, threads=1, cache_dir=tmp_path).note


def test_a_decoder_trained_further_keeps_the_embeddings(random_weights: Path, tmp_path: Path) -> None:
    state = torch.load(random_weights, weights_only=True)
    state["mask_decoder.iou_token.weight"] += 1
    torch.save(state, tmp_path / "trained.pt")
    assert TorchEngine(load_model(tmp_path / "trained.pt")).identity == TorchEngine(load_model(random_weights)).identity
    state["image_encoder.neck.3.bias"] += 1
    torch.save(state, tmp_path / "other.pt")
    assert TorchEngine(load_model(tmp_path / "other.pt")).identity != TorchEngine(load_model(random_weights)).identity
