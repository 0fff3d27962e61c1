"""What a C decoder prints about the file that it decodes, caught thread by thread.

libjpeg and libpng, which are inside OpenCV, print `Corrupt JPEG data: ...` to C's stderr and go on; nothing else
tells that the pixels are wrong. Descriptor 2 is left alone, since the progress bar and other threads write there too.
Instead glibc's variable `stderr` points to a stream of ours while anything decodes: it calls `_hear` in the thread that
prints, so that every message has its file. Without glibc nothing is caught.
"""

import ctypes
import os
import threading

_UNBUFFERED, _LOCKED_BY_CALLER = 2, 2  # _IONBF of stdio.h, FSETLOCKING_BYCALLER of stdio_ext.h
_Write = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)

_DAMAGE = (b"Corrupt JPEG data", b"Premature end of JPEG", b"Inconsistent progression sequence")
_HARMLESS = b"Corrupt JPEG data: bad ICC marker"
_MOST_LETTERS = 100


class _Functions(ctypes.Structure):
    """cookie_io_functions_t of stdio.h."""

    _fields_ = (
        ("read", ctypes.c_void_p),
        ("write", _Write),
        ("seek", ctypes.c_void_p),
        ("close", ctypes.c_void_p),
    )


_messages: dict[int, list[bytes]] = {}  # of each thread that listens
_lock = threading.Lock()
_num_listening = 0
_stderr: "ctypes.c_void_p | None" = None  # glibc's variable; None before the first call and without glibc
_stream: int | None = None
_before: int | None = None


class listen:
    """What C code in this thread prints to stderr while the body runs, piece by piece, in place of the terminal.

    A class and no generator, as it comes after each decoded image, when all of Python is out of the caches.
    """

    def __enter__(self) -> list[bytes]:
        global _num_listening, _before
        messages = _messages[threading.get_ident()] = []
        with _lock:
            stderr = _open()
            if stderr is not None and _num_listening == 0:
                _before, stderr.value = stderr.value, _stream
            _num_listening += 1
        return messages

    def __exit__(self, *_: object) -> None:
        global _num_listening
        with _lock:
            _num_listening -= 1
            if _num_listening == 0 and _stderr is not None:
                _stderr.value = _before
        del _messages[threading.get_ident()]


def find_damage_in(messages: list[bytes]) -> str | None:
    """The first line that speaks of damaged pixels, None where there is none.

    libjpeg prints only the first of a file's warnings. libpng's are about pixels where they name IDAT; it has others of
    colour profiles and texts, which change no pixel.
    """
    if not messages:
        return None
    for line in b"".join(messages).split(b"\n"):
        is_png = line.startswith(b"libpng") and b"IDAT" in line
        if is_png or (line.startswith(_DAMAGE) and not line.startswith(_HARMLESS)):
            text = line.removeprefix(b"libpng warning: ").decode("ascii", "replace")
            return "".join(letter for letter in text if letter.isprintable())[:_MOST_LETTERS]
    return None


def _hear(_cookie: int | None, data: int, length: int) -> int:
    """Called by glibc in the thread that prints."""
    text, messages = ctypes.string_at(data, length), _messages.get(threading.get_ident())
    if messages is None:  # another thread's, which has nothing to do with a decoder
        os.write(2, text)
    else:
        messages.append(text)
    return length


_write = _Write(_hear)  # kept for ever: glibc holds its address


def _open() -> "ctypes.c_void_p | None":
    """The variable `stderr` of glibc, with our stream made at the first call; None without glibc."""
    global _stderr, _stream
    if _stream is not None:
        return _stderr
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return None
    libc.fopencookie.restype = ctypes.c_void_p
    libc.fopencookie.argtypes = [ctypes.c_void_p, ctypes.c_char_p, _Functions]
    libc.setvbuf.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    set_locking = getattr(libc, "__fsetlocking")
    set_locking.argtypes = [ctypes.c_void_p, ctypes.c_int]
    stream = libc.fopencookie(None, b"w", _Functions(None, _write, None, None))
    # 1. each message reaches us before fprintf returns; 2. no lock is held while we wait for Python's, or two threads
    # that print would wait for each other for ever
    libc.setvbuf(stream, None, _UNBUFFERED, 0)
    set_locking(stream, _LOCKED_BY_CALLER)
    _stderr, _stream = ctypes.c_void_p.in_dll(libc, "stderr"), stream
    return _stderr
