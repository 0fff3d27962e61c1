"""Memory for large images: however many threads decode, those above 160 MB share 1 GB.

A thread that is alone goes on whatever its image takes, so nothing waits for ever; the limits on files and pixels keep
one image below 0.85 GB. With T threads at work the most is thus T x 160 MB, and 1 GB or one image for the large ones.
"""

import ctypes
import threading

LARGE = 160_000_000
"""Bytes that a thread takes for an image without asking."""

_ROOM = 1_000_000_000
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt's settings in glibc's malloc.h
_KEPT, _SMALL = 64 << 20, 32 << 20
_changed = threading.Condition()
_taken: dict[int, int] = {}  # bytes of each thread that decodes a large image
_kept = threading.local()


class one_image:
    """Keep the room that decoding takes until the body ends, which holds the pixels for longer; may be nested."""

    def __enter__(self) -> None:
        self._is_outermost = not getattr(_kept, "is_inside", False)
        _kept.is_inside = True

    def __exit__(self, *_: object) -> None:
        if self._is_outermost:
            _kept.is_inside = False
            if threading.get_ident() in _taken:
                with _changed:
                    del _taken[threading.get_ident()]
                    _changed.notify_all()


def take_room(num_bytes: int) -> None:
    """Wait until there is room for an image of so many bytes; inside `one_image`, which gives it back.

    A thread that holds some already is given more at once: two that hold and wait would wait for each other.
    """
    me = threading.get_ident()
    if num_bytes <= max(LARGE, _taken.get(me, 0)):
        return
    with _changed:
        while me not in _taken and _taken and sum(_taken.values()) + num_bytes > _ROOM:
            _changed.wait()
        _taken[me] = num_bytes


def is_large() -> bool:
    """Whether this thread has asked for the room of a large image."""
    return threading.get_ident() in _taken


def keep_small_blocks() -> None:
    """Let the C library keep up to 64 MB of freed memory in each thread, in blocks below 32 MB, for the next image.

    By default it gives them back after every image, and takes fresh, zeroed pages for the next: a fifth of the time of
    packing JPEGs of 1024 pixels (measured). Larger blocks still go back at once. Nothing happens without glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_MMAP_THRESHOLD, _SMALL)
