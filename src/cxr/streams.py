"""stdout and stderr while a command runs: text cannot act on the terminal, and failures become a StdoutError.

`print` and libraries write through a guard that makes text visible (see text.py), so that nobody can forget
to. Only rich's colours (console.py) and predictions for another program (`exact_stdout`) pass as they are.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast

from cxr.errors import CxrError
from cxr.text import visible, visible_lines


class StdoutError(Exception):
    """stdout cannot be written, for the reason `cause`; no OSError, as rich and Typer would handle that."""

    def __init__(self, cause: OSError) -> None:
        self.cause = cause
        super().__init__(str(cause))


@contextmanager
def guarded() -> Iterator[None]:
    """Guard stdout and stderr while the body runs; both are flushed before it ends.

    Raises:
        StdoutError: stdout cannot be written. Where stderr cannot, messages are lost and the work continues.
    """
    _open_missing()
    before = sys.stdout, sys.stderr
    # a result that cannot be written ends the command, a message that cannot be written does not
    sys.stdout = cast(TextIO, _Guard(_Stream(sys.stdout, may_fail=False), visible_lines))
    sys.stderr = cast(TextIO, _Guard(_Stream(sys.stderr, may_fail=True), _visible_progress))
    try:
        yield
        sys.stdout.flush()
    finally:
        with suppress(StdoutError):  # raised above already, or another error is on its way
            sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def show(line: str) -> None:
    """Print one line of a result to stdout."""
    print(visible(line))


def complain(error: CxrError | str) -> None:
    """Print an error, or one line about what could not be done, to stderr; after what stdout holds back."""
    with suppress(StdoutError):  # `guarded` raises it again at the end of the command
        sys.stdout.flush()
    print(error.render() if isinstance(error, CxrError) else visible(error), file=sys.stderr)


def exact_stdout() -> TextIO:
    """Stdout for another program: names are written byte for byte, on a terminal they are made visible."""
    if sys.stdout.isatty():
        return sys.stdout
    return cast(TextIO, getattr(sys.stdout, "rich_proxied_file", sys.stdout))


class _Stream:
    """A text stream that takes any letters, and that fails for ever after its first failure."""

    def __init__(self, stream: TextIO, may_fail: bool) -> None:
        self._stream, self._may_fail = stream, may_fail
        self._failure: OSError | None = None

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if text:
            self._attempt(lambda: self._write(text))
        return len(text)

    def flush(self) -> None:
        self._attempt(self._stream.flush)

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        try:
            text.encode(encoding)
        except UnicodeEncodeError:  # asked first, as the stream may write `?` instead of raising it
            self._stream.flush()
            self._stream.buffer.write(_encode(text, encoding))
        else:
            self._stream.write(text)

    def _attempt(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as error:
            self._failure = error
            _discard(self._stream)
        if self._failure and not self._may_fail:  # again at the end, should a library have caught it
            raise StdoutError(self._failure)


class _Guard:
    """A stream whose text is made visible before it is written."""

    def __init__(self, stream: _Stream, clean: Callable[[str], str]) -> None:
        self.rich_proxied_file = stream  # the name under which rich asks for where its colours may go
        self._clean = clean

    def __getattr__(self, name: str) -> object:
        return getattr(self.rich_proxied_file, name)

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(self._clean(text))
        return len(text)


def _encode(text: str, encoding: str) -> bytes:
    """Bytes of file names as they were, or escapes for letters that the encoding lacks."""
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace")


def _visible_progress(text: str) -> str:
    """As `visible_lines`, but carriage returns stay, with which a download rewrites its line."""
    return "\r".join(map(visible_lines, text.split("\r")))


def _discard(stream: TextIO) -> None:
    """Discard all that a stream holds or is given; else Python prints an error about it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _open_missing() -> None:
    """Open stdin, stdout and stderr where they are closed; else the next file would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)
    sys.stderr = sys.stderr or open(2, "w", closefd=False)
