"""The allocator really keeps memory: seen in page faults, in a process of its own. And what ends with a GPU."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch

from maskloop.engines.runtime import available_threads, gpu_is_lost, share_cores, unshared

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
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ..."), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 98.00 MiB."), False),
        (RuntimeError("CUDA error: out of memory"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), False),
        (RuntimeError("shapes differ"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_a_gpu_is_lost_with_its_context_and_not_for_lack_of_memory(error: Exception, lost: bool) -> None:
    assert gpu_is_lost(error) == lost


def test_what_is_not_maskloops_runs_as_it_would_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    before = dict(os.environ)
    share_cores()
    assert os.environ["GOMP_SPINCOUNT"] == "2000"
    assert unshared() == before
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    share_cores()
    assert unshared() == {**before, "GOMP_SPINCOUNT": "7"}
