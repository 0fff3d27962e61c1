"""Memory for large images: however many threads decode, images above 160 MB share 1 GB.

The first large image is decoded whatever it takes, so nothing waits for ever; the limits on files and pixels
keep one image below 0.85 GB. With T threads the most is thus T x 160 MB, and 1 GB or one image for the large
images.
"""

import ctypes
import threading

LARGE = 160_000_000
"""Bytes that a thread takes for an image without asking."""

_SHARED_BYTES = 1_000_000_000
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's settings in glibc's malloc.h
_KEPT_BYTES, _SMALL_BYTES = 64 << 20, 32 << 20
_changed = threading.Condition()
_reserved: dict[int, int] = {}  # thread -> bytes, of each thread that decodes a large image
_local = threading.local()


class image_memory:
    """Keep what `reserve_memory` gives until the body, which needs the pixels, ends; may be nested."""

    def __enter__(self) -> None:
        self._is_outermost = not getattr(_local, "is_inside", False)
        _local.is_inside = True

    def __exit__(self, *_: object) -> None:
        if not self._is_outermost:
            return
        _local.is_inside = False
        if threading.get_ident() in _reserved:
            with _changed:
                del _reserved[threading.get_ident()]
                _changed.notify_all()


def reserve_memory(num_bytes: int) -> None:
    """Wait until an image may take so many bytes; inside `image_memory`, which gives them back.

    A thread that has reserved some already gets more at once: two that hold and wait would wait for each
    other.
    """
    thread = threading.get_ident()
    if num_bytes <= max(LARGE, _reserved.get(thread, 0)):
        return
    with _changed:
        # the first large image never waits, as nobody would wake it
        while thread not in _reserved and _reserved and sum(_reserved.values()) + num_bytes > _SHARED_BYTES:
            _changed.wait()
        _reserved[thread] = num_bytes


def is_large() -> bool:
    """Whether this thread has reserved memory for a large image."""
    return threading.get_ident() in _reserved


def keep_freed_memory() -> None:
    """Let the C library keep 64 MB of freed memory in each thread, in blocks below 32 MB, for the next image.

    By default it gives the memory back after every image and takes fresh, zeroed pages for the next: a fifth
    of the time of packing JPEGs of 1024 pixels (measured). Larger blocks still go back at once. Does nothing
    without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, _SMALL_BYTES)
