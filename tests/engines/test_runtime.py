"""The allocator really keeps memory: seen in page faults, in a process of its own. And what a GPU's errors mean."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from maskloop.engines.runtime import available_threads, gpu_is_lost, share_cores, unshared, wants_memory

SCRIPT = """
import resource, sys
from maskloop.engines.runtime import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    return bytearray(64 << 20)
use()
before = faults()
for _ in range(5):
    use()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_memory_once_used_is_not_faulted_in_again() -> None:
    kept, returned = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True).stdout)
        for mode in ("keep", "return")
    )
    assert kept < returned / 10


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_threads_are_the_cores_that_the_process_may_use() -> None:
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        assert available_threads() == 1
    finally:
        os.sched_setaffinity(0, cores)
    assert available_threads() == len(cores)


@pytest.mark.parametrize(
    ("error", "lost", "full"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel ..."), True, False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 98.00 MiB."), False, True),
        (RuntimeError("CUDA error: out of memory"), False, True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False, True),
        (RuntimeError("GET was unable to find an engine to execute this computation"), False, True),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), False, False),
        (RuntimeError("shapes differ"), False, False),
        (ValueError("CUDA error: out of memory"), False, False),
    ],
)
def test_a_gpu_that_is_lost_and_one_that_is_full_are_told_apart(error: Exception, lost: bool, full: bool) -> None:
    assert (gpu_is_lost(error), wants_memory(error)) == (lost, full)


def test_what_is_not_maskloops_runs_as_it_would_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    before = dict(os.environ)
    share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "2000"
    assert unshared() == before
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    share_cores()
    assert unshared() == {**before, "GOMP_SPINCOUNT": "7"}
