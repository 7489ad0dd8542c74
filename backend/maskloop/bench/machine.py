"""What this machine can do, measured: the floor under every figure of the table."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from maskloop.engines.runtime import available_threads

SIDES = (512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class Machine:
    """name: of the processor. cores: that this process may use. operations: multiply and add counted apart, per
    second, in the faster of float32 and bfloat16. bandwidth: bytes per second read and written by a large copy."""

    name: str
    cores: int
    operations: float
    precision: str
    bandwidth: float

    def limit_ms(self, operations: float, moved: float) -> float:
        """The least time, in ms, for so many operations and bytes: the larger of the two, as if overlapped."""
        return 1000 * max(operations / self.operations, moved / self.bandwidth)


@dataclass(frozen=True, slots=True)
class Work:
    """What a computation must do: operations, and bytes (weights, inputs and outputs, each once)."""

    operations: float
    moved: float


def measure_machine(device: str = "cpu") -> Machine:
    rates = {name: matrix_rate(dtype, device) for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    precision = max(rates, key=lambda name: rates[name])
    name = torch.cuda.get_device_name() if device == "cuda" else processor_name()
    return Machine(name, available_threads(), rates[precision], precision, copy_rate(device))


def processor_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def matrix_rate(dtype: torch.dtype, device: str) -> float:
    """Operations per second of the best of several products of random square matrices of several sizes."""

    def rate(side: int) -> float:
        left, right = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
        return 2 * side**3 / shortest(lambda: left @ right, device)

    return max(map(rate, SIDES))


def copy_rate(device: str, count: int = 1 << 26) -> float:
    source, target = torch.rand(count, device=device), torch.empty(count, device=device)
    return 2 * source.nbytes / shortest(lambda: target.copy_(source), device)


def shortest(work: Callable[[], Any], device: str, times: int = 5) -> float:
    """Seconds of the fastest of several runs after one to warm up."""
    work()
    runs = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        runs.append(time.perf_counter() - start)
    return min(runs)


def count_work(module: torch.nn.Module, *inputs: torch.Tensor) -> Work:
    """The operations of one forward pass, and the bytes of its weights, inputs and outputs."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = module(*inputs)
    outputs = output if isinstance(output, tuple) else (output,)
    tensors = [*module.parameters(), *inputs, *outputs]
    return Work(counter.get_total_flops(), sum(tensor.nbytes for tensor in tensors))
