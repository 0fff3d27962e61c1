import ctypes
import platform
import resource
import subprocess
import sys

import pytest
import torch

from cxr.data.malloc import keep_freed_memory

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")

FAULTS = """
import resource, sys, torch
from cxr.data.malloc import keep_freed_memory
keep_freed_memory(torch.device("cpu"), sys.argv[1] == "keep")
for _ in range(10):
    torch.ones(16_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(keep: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, keep], capture_output=True, text=True, check=True)
    return int(done.stdout)


@needs_glibc
def test_a_freed_batch_is_used_again_without_new_pages() -> None:
    pages_of_a_batch = 64_000_000 // resource.getpagesize()
    assert page_faults("keep") < 2 * pages_of_a_batch
    assert page_faults("default") > 9 * pages_of_a_batch


def test_a_gpu_changes_nothing() -> None:
    assert not keep_freed_memory(CUDA)


def test_another_c_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory(CPU)
