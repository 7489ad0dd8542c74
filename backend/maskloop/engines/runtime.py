"""The process that an engine runs in: its cores, its memory allocator, its hold on a GPU."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt(3)."""


SPIN_COUNT = "GOMP_SPINCOUNT"
SPINS = "2000"
"""Rounds in which one of PyTorch's threads that waits for the others looks for them before it sleeps."""


def share_cores() -> None:
    """Let PyTorch's threads that wait give their core away soon; to be called before it is imported.

    GNU OpenMP has them spin for some milliseconds. Where another process wants the core, each such wait takes as long
    as the scheduler lets it spin: of two trainings at once on two cores, a step took 3.7 s in place of 1.4, while one
    alone became 8 % slower (0.69 to 0.75 s). Whoever set it otherwise is obeyed.
    """
    os.environ.setdefault(SPIN_COUNT, SPINS)


def unshared() -> dict[str, str]:
    """The environment for a program that isn't maskloop's, as it was before ``share_cores``."""
    return {name: value for name, value in os.environ.items() if (name, value) != (SPIN_COUNT, SPINS)}


def available_threads() -> int:
    """As many as the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_bf16() -> bool:
    """Whether the CPU multiplies in bf16; where it doesn't, bf16 is slower than fp32."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def keep_memory() -> bool:
    """Let malloc keep freed memory in place of returning it to the system and faulting it in again, page by page.

    PyTorch allocates each layer's output anew, tens of megabytes: so its encoder takes about half of the time. The
    process stays at its peak size. Returns whether it could be set: with glibc only.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = {M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: (1 << 31) - 1, M_TOP_PAD: 256 << 20}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())


def may_take_gpu(engine: str) -> bool:
    """Whether the engine that was asked for is one on a GPU, if there is one."""
    return engine in ("auto", "torch-cuda")


def has_nvidia_driver() -> bool:
    """Whether there is one, as its device tells; PyTorch may still be unable to use it."""
    return Path("/dev/nvidiactl").exists()


def gpu_memory() -> int:
    """Bytes of the GPU that PyTorch would take; 0 without one. Imports PyTorch only where there may be a GPU."""
    if not has_nvidia_driver() and not Path("/dev/dxg").exists():  # the latter is Windows' way into its Linux
        return 0
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def wants_memory(error: Exception) -> bool:
    """Whether PyTorch had too little of the GPU's memory, as it, CUDA, cuBLAS and cuDNN say so: the last only that it
    found no way to compute."""
    signs = ("out of memory", "ALLOC_FAILED", "unable to find an engine")
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in signs)


def gpu_is_lost(error: Exception) -> bool:
    """Whether, after this error of PyTorch's, the process can't use the GPU any more. Too little memory is none, nor is
    a GPU that its build isn't for."""
    spared = wants_memory(error) or "no kernel image" in str(error)
    return isinstance(error, RuntimeError) and str(error).startswith("CUDA error") and not spared
