"""Running as root, whom no permission stops, as anybody else would."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION, _OVERRIDE = 0x20080522, (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_Words = ctypes.c_uint32 * 6
"""Effective, permitted and inheritable powers, 32 of them a word, the first 32 first."""


@contextmanager
def without_roots_powers() -> Iterator[None]:
    """Let permissions bind this thread while the body runs."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, words = (ctypes.c_uint32 * 2)(_VERSION, 0), _Words()
    assert libc.capget(header, words) == 0
    before = words[0]
    words[0] &= ~_OVERRIDE
    assert libc.capset(header, words) == 0
    try:
        yield
    finally:
        words[0] = before
        assert libc.capset(header, words) == 0
