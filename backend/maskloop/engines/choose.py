"""Which engine this machine gets: the fastest that works and is accurate, and why not a faster one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from maskloop.engines.gate import Inaccurate, check
from maskloop.engines.network_engine import NetworkEngine, Precision
from maskloop.engines.runtime import available_threads, has_bf16, has_nvidia_driver, keep_memory
from maskloop.engines.torch_engine import TorchEngine
from maskloop.errors import MaskloopError
from maskloop.sam.network import MobileSam, load_model, weights_hash
from maskloop.sam.preprocess import EXACT, FRAMES
from maskloop.sam.values import ImageSize

Kind = Literal["auto", "torch-cuda", "torch-cpu", "openvino"]
Make = Callable[[MobileSam], NetworkEngine]

YARDSTICK = "torch-cpu-fp32"

log = logging.getLogger(__name__)


def choose_engine(
    weights: Path,
    kind: Kind = "auto",
    *,
    threads: int = 0,
    cache_dir: Path | None = None,
    like: NetworkEngine | None = None,
) -> NetworkEngine:
    """The fastest engine of this machine, or of the ``kind`` asked for, with the weights of a verified file.

    One that isn't there, fails or isn't accurate is passed over for the next, down to PyTorch in fp32 on the CPU; the
    reasons are logged and kept as the engine's ``note``.

    threads: CPU threads, also PyTorch's in this process; 0: one for each core that the process may use.
    cache_dir: where converted networks are kept; without it, each start converts anew (10 s).
    like: an engine whose encoder this one may take.
    Raises WeightsError if the file doesn't hold MobileSAM's weights.
    """
    threads = threads or available_threads()
    torch.set_num_threads(threads)
    reasons: dict[str, str] = {}
    for name, make in candidates(kind, threads, cache_dir, like):
        model = load_model(weights)
        key = weights_hash(model)
        try:
            engine = make(model)
            if name != YARDSTICK:
                check(engine, partial(yardstick, weights, engine.frames), key, cache_dir)
        except (ImportError, OSError, RuntimeError, Inaccurate) as error:
            reasons.setdefault(first_line(error), name)
            continue
        engine.note = "; ".join(f"{name}: {reason}" for reason, name in reasons.items())
        if reasons:
            log.warning("Engine %s runs, not the one wanted. %s", engine.name, engine.note)
        else:
            log.info("Engine %s runs.", engine.name)
        return engine
    raise MaskloopError(f"No engine runs here: {'; '.join(reasons)}.")


def candidates(
    kind: Kind, threads: int, cache_dir: Path | None, like: NetworkEngine | None
) -> Iterator[tuple[str, Make]]:
    """Engines by name, the most wanted first."""
    cpu: Precision = "bf16" if has_bf16() else "fp32"
    if kind == "torch-cuda" or (kind == "auto" and (torch.cuda.is_available() or has_nvidia_driver())):
        for precision in precisions("bf16"):
            yield f"torch-cuda-{precision}", partial(torch_on_cuda, precision=precision)
    if kind != "torch-cpu":
        for precision in precisions(cpu):
            make = partial(openvino_on_cpu, precision=precision, threads=threads, cache_dir=cache_dir, like=like)
            yield f"openvino-cpu-{precision}", make
    for precision in precisions(cpu):
        yield f"torch-cpu-{precision}", partial(torch_on_cpu, precision=precision)


def precisions(best: Precision) -> tuple[Precision, ...]:
    """In the order to try them."""
    return ("bf16", "fp32") if best == "bf16" else ("fp32",)


def yardstick(weights: Path, frames: Sequence[ImageSize]) -> NetworkEngine:
    return TorchEngine(load_model(weights), frames=frames)


def frames_for(precision: Precision) -> tuple[ImageSize, ...]:
    """PyTorch in fp32 is what all others are measured by."""
    return EXACT if precision == "fp32" else FRAMES


def torch_on_cuda(model: MobileSam, precision: Precision) -> NetworkEngine:
    if not torch.cuda.is_available():
        built = f"for CUDA {torch.version.cuda}: the driver may be too old" if torch.version.cuda else "without CUDA"
        raise RuntimeError(f"PyTorch sees no GPU here; it is built {built}")
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RuntimeError("this GPU doesn't compute in bf16")
    return TorchEngine(model, "cuda", precision, frames_for(precision))


def torch_on_cpu(model: MobileSam, precision: Precision) -> NetworkEngine:
    keep_memory()
    return TorchEngine(model, "cpu", precision, frames_for(precision))


def openvino_on_cpu(
    model: MobileSam, precision: Precision, threads: int, cache_dir: Path | None, like: NetworkEngine | None
) -> NetworkEngine:
    from maskloop.engines.openvino_engine import OpenVinoEngine  # an optional package

    engine = OpenVinoEngine(model, precision, threads, cache_dir, like)
    torch.set_num_threads(1)  # PyTorch only embeds points then, and its idle threads would spin beside OpenVINO's
    return engine


def first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
