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
import resource, torch
from cxr.data.malloc import keep_freed_memory

def count_faults(keep):
    keep_freed_memory(torch.device("cpu"), keep)
    for _ in range(10):
        torch.ones(16_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(count_faults(False), count_faults(True))
"""


@needs_glibc
def test_a_freed_batch_is_used_again_without_new_pages() -> None:
    pages_of_a_batch = 64_000_000 // resource.getpagesize()
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    by_default, kept = map(int, done.stdout.split())
    assert kept < 2 * pages_of_a_batch
    assert by_default > 9 * pages_of_a_batch


def test_a_gpu_changes_nothing() -> None:
    assert not keep_freed_memory(CUDA)


def test_another_c_library_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not keep_freed_memory(CPU)
