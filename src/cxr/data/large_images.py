"""Memory for large images: however many threads decode, those above 160 MB share 1 GB.

A thread that is alone goes on whatever its image takes, so nothing waits for ever; the limits on files and pixels keep
one image below 1.5 GB. With T threads at work the most is thus T x 160 MB, and 1 GB or one image for the large ones.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LARGE = 160_000_000
"""Bytes that a thread takes for an image without asking."""

_ROOM = 1_000_000_000
_changed = threading.Condition()
_taken: dict[int, int] = {}  # bytes of each thread that decodes a large image
_kept = threading.local()


@contextmanager
def one_image() -> Iterator[None]:
    """Keep the room that decoding takes until the body ends, which holds the pixels for longer; may be nested."""
    outermost = not getattr(_kept, "inside", False)
    _kept.inside = True
    try:
        yield
    finally:
        if outermost:
            _kept.inside = False
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
