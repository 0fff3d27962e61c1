"""FILE.part: the rows of `cxr predict --out FILE` as they are made, from which `--resume` continues.

Its first line says by what the rows are made, each other line holds the rows of one batch, as JSON. Before
the JSON stands a checksum of it and of all lines before it, so that no changed, missing or moved line is
believed. A line that a kill cut off is dropped. So a resumed run continues between two batches, and writes
the very file that a straight run writes.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from cxr.console import count
from cxr.errors import CxrError
from cxr.files import explain_os_errors, write_atomically
from cxr.streams import complain
from cxr.system import lock_file

_SUFFIX = ".part"
_NUM_DIGITS = 16  # of a line's checksum


class _Line(BaseModel):
    """Values of JSON are taken as they are."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class _Head(_Line):
    made_by: dict[str, str]
    """What must be the same to continue, as the checksum of the model."""


class _Batch(_Line):
    images: tuple[str, ...]
    text: str
    """Their rows."""
    counts: dict[str, int]
    """Of all images so far."""


class Journal:
    """The rows of one output file.

    Attributes:
        path: Of the output.
        rows: Where rows are written before `keep`.
        done: Names of the images whose rows are kept.
        counts: As they were given to the last `keep`.
    """

    def __init__(self, path: Path, made_by: Mapping[str, str]) -> None:
        self.path = path
        self.rows: TextIO = io.StringIO(newline="")
        self.done = set[str]()
        self.counts: dict[str, int] = {}
        self._part = path.with_name(path.name + _SUFFIX)
        self._made_by = dict(made_by)
        self._file: BinaryIO | None = None
        self._sum = hashlib.sha256()  # of all lines so far

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the file, and say how to continue where the run ends early."""
        if self._file is None:
            return
        with suppress(OSError):  # a full disk, which has raised its error already
            self._file.close()
        if kind is not None and not self.done:
            self._part.unlink(missing_ok=True)  # there is nothing to continue
        elif kind is not None:
            images = count(len(self.done), "image")
            complain(f"hint: {images} in {self._part}; the same command with --resume continues")

    def begin(self, resume: bool) -> None:
        """Read what an interrupted run left, or refuse to begin again where it left something.

        Raises:
            CxrError: Rows are there without `resume`; or they were made by something else, the file is none
                of a journal, or another process writes it.
        """
        with explain_os_errors(self._part):
            try:
                file = self._part.open("r+b")
            except FileNotFoundError:
                if resume:
                    complain(f"note: no {self._part} to continue: this run begins at the first image")
                return
            try:
                self._lock(file)
                if not resume:
                    hint = "add --resume to continue it, or remove the file to begin again"
                    raise CxrError(f"{self._part}: an interrupted run left its rows there", hint)
                self._read(file)
            except BaseException:
                file.close()
                raise
        self._file = file

    def take_rows(self) -> str:
        """What was written into `rows`, which is empty then."""
        assert isinstance(self.rows, io.StringIO)
        text = self.rows.getvalue()
        self.rows.seek(0)
        self.rows.truncate()
        return text

    def keep(self, images: Sequence[Path], counts: Mapping[str, int]) -> None:
        """Add the rows of a batch to the file on the disk.

        Raises:
            CxrError: The disk is full, or the folder cannot be written.
        """
        names = tuple(map(str, images))
        with explain_os_errors(self._part):
            if self._file is None:
                self._create()
                assert self._file is not None
            self._append(self._file, _Batch(images=names, text=self.take_rows(), counts=dict(counts)))
        self.done.update(names)
        self.counts = dict(counts)

    def finish(self, header: str) -> None:
        """Write the output: the header and all rows; the file of the rows is removed then.

        Raises:
            CxrError: The disk is full, or the folder cannot be written.
        """

        def write(temporary: Path) -> None:
            # names of files are kept byte for byte, as on stdout
            with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(header)
                file.writelines(self._texts())

        write_atomically(self.path, write)
        if self._file is not None:
            self._file.close()
            self._file = None
            with explain_os_errors(self._part):
                self._part.unlink(missing_ok=True)

    def _create(self) -> None:
        try:
            self._file = self._part.open("x+b")
        except FileExistsError:
            raise self._busy() from None
        self._lock(self._file)
        self._append(self._file, _Head(made_by=self._made_by))

    def _lock(self, file: BinaryIO) -> None:
        with suppress(OSError):  # a file system without locks
            try:
                lock_file(file.fileno(), wait=False)
            except BlockingIOError:
                file.close()
                raise self._busy() from None

    def _busy(self) -> CxrError:
        return CxrError(
            f"{self._part}: another cxr predict writes it", "wait, or name another file with --out"
        )

    def _read(self, file: BinaryIO) -> None:
        """Take over the whole lines of a file, and cut off what follows them."""
        end = 0
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            try:
                content = self._take_content(line)
                if number == 0:
                    self._check(_Head.model_validate(json.loads(content)).made_by)
                else:
                    batch = _parse(content)
                    self.done.update(batch.images)
                    self.counts = batch.counts
            except (ValidationError, ValueError, RecursionError):
                hint = "remove it, and give the command without --resume"
                raise CxrError(f"{self._part}: was not left by cxr predict, or is damaged", hint) from None
            end += len(line)
        file.seek(end)
        file.truncate()
        if end == 0:
            self._append(file, _Head(made_by=self._made_by))

    def _take_content(self, line: bytes) -> bytes:
        """The JSON of a line, by whose checksum all lines before it are as they were written.

        Raises:
            ValueError: They are not.
        """
        digits, _, content = line.partition(b" ")
        self._sum.update(content)
        if digits != self._sum.hexdigest()[:_NUM_DIGITS].encode():
            raise ValueError("another checksum")
        return content

    def _append(self, file: BinaryIO, line: _Line) -> None:
        content = json.dumps(line.model_dump()).encode() + b"\n"
        self._sum.update(content)
        file.seek(0, os.SEEK_END)
        file.write(self._sum.hexdigest()[:_NUM_DIGITS].encode() + b" " + content)
        file.flush()

    def _check(self, made_by: Mapping[str, str]) -> None:
        """Refuse to continue what something else began.

        Raises:
            CxrError: With each difference.
        """
        names = dict.fromkeys((*self._made_by, *made_by))
        different = [name for name in names if self._made_by.get(name) != made_by.get(name)]
        if different:
            problems = [
                f"{self._part}: was begun with {name} {made_by.get(name) or 'none'}, "
                f"and this is {self._made_by.get(name) or 'none'}"
                for name in different
            ]
            raise CxrError(problems, "give the command that began it, or another file with --out")

    def _texts(self) -> Iterator[str]:
        """The rows that are kept, then those that are not yet."""
        if self._file is not None:
            self._file.seek(0)
            self._file.readline()
            for line in self._file:
                yield _parse(line.partition(b" ")[2]).text
        yield self.take_rows()


def _parse(line: bytes) -> _Batch:
    # by Python's reader: names of files that are no UTF-8 are escaped as halves of a surrogate pair, which
    # pydantic's reader refuses
    content = json.loads(line)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content["images"] = tuple(content["images"])
    return _Batch.model_validate(content)
