"""What a C decoder prints about the file that it decodes, caught thread by thread.

libjpeg and libpng, which are inside OpenCV, print `Corrupt JPEG data: ...` to C's stderr and continue;
nothing else tells that the pixels are wrong. Descriptor 2 is left alone, since the progress bar and other
threads write there too. Instead glibc's variable `stderr` points to a stream of ours while anything decodes:
it calls `_receive` in the thread that prints, so that every message has its file. Without glibc nothing is
caught.
"""

import ctypes
import os
import threading

_UNBUFFERED, _LOCKED_BY_CALLER = 2, 2  # _IONBF of stdio.h, FSETLOCKING_BYCALLER of stdio_ext.h
_Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

_DAMAGE = (b"Corrupt JPEG data", b"Premature end of JPEG", b"Inconsistent progression sequence")
_HARMLESS = b"Corrupt JPEG data: bad ICC marker"
_MAX_LETTERS = 100


class _Functions(ctypes.Structure):
    """cookie_io_functions_t of stdio.h."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


_messages: dict[int, list[bytes]] = {}  # thread -> what it has printed, of each thread that captures
_lock = threading.Lock()
_num_capturing = 0
_stderr: "ctypes.c_void_p | None" = None  # glibc's variable; None before the first call and without glibc
_stream: int | None = None  # address of our FILE
_before: int | None = None  # address of the FILE that `stderr` pointed to


class capture_messages:
    """Pieces of what C code in this thread prints to stderr while the body runs; the terminal gets none.

    A class and no generator, as it comes after each decoded image, when all of Python is out of the caches.
    """

    def __enter__(self) -> list[bytes]:
        global _num_capturing, _before
        messages = _messages[threading.get_ident()] = []
        with _lock:
            stderr = _open_stream()
            if stderr is not None and _num_capturing == 0:
                _before, stderr.value = stderr.value, _stream
            _num_capturing += 1
        return messages

    def __exit__(self, *_: object) -> None:
        global _num_capturing
        with _lock:
            _num_capturing -= 1
            if _num_capturing == 0 and _stderr is not None:
                _stderr.value = _before
        del _messages[threading.get_ident()]


def find_damage_in(messages: list[bytes]) -> str | None:
    """The first line that reports damaged pixels, None where there is none.

    libjpeg prints only the first of a file's warnings. libpng's are about pixels where they name IDAT; others
    are about colour profiles and texts, which change no pixel.
    """
    if not messages:
        return None
    for line in b"".join(messages).split(b"\n"):
        is_png = line.startswith(b"libpng") and b"IDAT" in line
        if is_png or (line.startswith(_DAMAGE) and not line.startswith(_HARMLESS)):
            text = line.removeprefix(b"libpng warning: ").decode("ascii", "replace")
            return "".join(letter for letter in text if letter.isprintable())[:_MAX_LETTERS]
    return None


def _receive(_cookie: int | None, data: int, length: int) -> int:
    """Called by glibc in the thread that prints."""
    text = ctypes.string_at(data, length)
    messages = _messages.get(threading.get_ident())
    if messages is None:  # a thread that decodes nothing, while another does
        os.write(2, text)
    else:
        messages.append(text)
    return length


_write = _Write(_receive)  # never freed: glibc holds its address


def _open_stream() -> "ctypes.c_void_p | None":
    """The variable `stderr` of glibc, with our stream made at the first call; None without glibc."""
    global _stderr, _stream
    if _stream is not None:
        return _stderr
    try:
        libc = ctypes.CDLL(None)  # the C library that this process runs with
    except TypeError:  # Windows
        return None
    if not hasattr(libc, "gnu_get_libc_version"):
        return None
    libc.fopencookie.restype = ctypes.c_void_p
    libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Functions]
    libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    set_locking = getattr(libc, "__fsetlocking")
    set_locking.argtypes = [ctypes.c_void_p, ctypes.c_int]
    stream = libc.fopencookie(None, b"w", _Functions(None, _write, None, None))
    # each message must reach us before fprintf returns
    libc.setvbuf(stream, None, _UNBUFFERED, 0)
    # no lock of glibc's may be held while we wait for Python's: two threads that print would wait for each
    # other
    set_locking(stream, _LOCKED_BY_CALLER)
    _stderr, _stream = ctypes.c_void_p.in_dll(libc, "stderr"), stream
    return _stderr
