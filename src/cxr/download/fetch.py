"""One published file over HTTPS: continued where it was cut off, checked by size and checksum.

The bytes are written to `NAME.part`, which becomes `NAME` once its size and checksum are those published. So
a file called NAME is whole, and the same command continues a part after a cut connection, Ctrl-C or a full
disk. What the server says of the file's version (ETag, or else Last-Modified) is kept in `NAME.part.tag` and
sent with each request to continue, so that two versions of a file are never joined.
"""

import hashlib
import http.client
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from cxr.console import say
from cxr.download.request import RESUME, TryAgainError, not_the_file, open_url, read_chunk, version_tag
from cxr.errors import CxrError
from cxr.files import explain_os_errors, sync
from cxr.paths import is_file

WAITS = (1.0, 5.0, 20.0, 60.0, 60.0)
"""Seconds before each further attempt, as long as none brings a byte; then the command gives up."""

Report = Callable[[int], None]
"""Called with the bytes of the file that are there."""


@dataclass(frozen=True)
class Remote:
    """A file as it is published.

    Attributes:
        name: What it is called here.
        url: Where it is.
        num_bytes: Its size.
        algorithm: Of its checksum, `md5` or `sha256`.
        digest: The checksum in hexadecimal digits.
    """

    name: str
    url: str
    num_bytes: int
    algorithm: str
    digest: str


def fetch(remote: Remote, folder: Path, report: Report = lambda num_bytes: None) -> Path:
    """The file in a folder, downloaded unless it is there; its size and checksum are those published.

    Args:
        remote: What is published.
        folder: Where it is put; it must exist.
        report: Told how much of it is there.

    Raises:
        CxrError: No connection, an answer that is not the file, another size or checksum than published, a
            full disk, or a file of this name with other bytes. What was downloaded stays and is continued.
    """
    path = folder / remote.name
    if is_file(path):
        problem = compare(path, remote)
        if problem:
            raise CxrError(f"{path}: {problem}", "move it away; the command then downloads it")
        # whole already: the bar jumps to its end
        report(remote.num_bytes)
        return path
    part = path.with_name(path.name + ".part")
    problem = ""
    # Twice: by size and checksum, whatever the server says of them.
    for _ in range(2):  # bytes that were damaged on the way may be right the second time
        _download(remote, part, report)
        problem = compare(part, remote)
        if not problem:
            break
        say(f"{part}: {problem}; it is downloaded again")
        _drop(part)
    else:
        raise CxrError(f"{remote.url}: {problem}", "the published file has changed, or a proxy changes it")
    with explain_os_errors(path):
        sync(part)
        # 1. the bytes are on the disk, 2. the name, 3. the folder's entry: a file called NAME is whole
        os.replace(part, path)
        _tag_of(part).unlink(missing_ok=True)
        sync(folder)
    return path


def compare(path: Path, remote: Remote) -> str:
    """How a file differs from what is published: its size or its checksum; empty where it does not."""
    size = path.stat().st_size
    if size != remote.num_bytes:
        return f"has {size:,} bytes, and {remote.num_bytes:,} are published"
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(remote.algorithm, usedforsecurity=False))
    if found.hexdigest() == remote.digest:
        return ""
    name = remote.algorithm.upper().replace("SHA", "SHA-")
    return f"has the {name} checksum {found.hexdigest()}, and {remote.digest} is published"


def _download(remote: Remote, part: Path, report: Report) -> None:
    """Fill the part up to the published size, over as many connections as that needs."""
    num_failed = 0  # attempts in a row that brought no byte
    if _size(part) > remote.num_bytes:
        _drop(part)
    while (before := _size(part)) < remote.num_bytes:
        try:
            _continue(remote, part, report)
        except TryAgainError as failure:
            # an attempt that brought bytes begins the count again: a slow line gets there in the end
            num_failed = num_failed + 1 if _size(part) <= before else 1
            if num_failed > len(WAITS):
                raise CxrError(f"{remote.url}: {failure.reason}", f"check the network; {RESUME}") from None
            wait = max(WAITS[num_failed - 1], failure.wait)
            say(f"{remote.name}: {failure.reason}; next attempt in {wait:.0f} s")
            time.sleep(wait)


def _continue(remote: Remote, part: Path, report: Report) -> None:
    """Append what one connection brings.

    Raises:
        TryAgainError: It brought less than the whole.
        CxrError: An answer that another attempt would not change, or the part cannot be written.
    """
    start = _size(part)
    with open_url(remote.url, start, _read_tag(part)) as response:
        offset = _find_offset(remote, response, start, part)
        chunk = read_chunk(response)
        if not chunk:
            raise TryAgainError("the server sends nothing")
        # a login page under the file's address would fail the checksum only after gigabytes
        if offset == 0 and chunk.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise not_the_file(remote.url)
        # r+b keeps what is there; seek then continues behind it
        with explain_os_errors(part), part.open("r+b" if offset else "wb") as file:
            if not offset:
                # a new beginning may be of another version
                _write_tag(part, response.headers)
            file.seek(offset)
            while chunk:
                offset += len(chunk)
                if offset > remote.num_bytes:
                    _drop(part)
                    problem = f"sends more than the {remote.num_bytes:,} bytes that are published"
                    raise CxrError(f"{remote.url}: {problem}", "the published file has changed")
                file.write(chunk)
                report(offset)
                chunk = read_chunk(response)
    if offset < remote.num_bytes:
        raise TryAgainError(f"the connection was cut after {offset:,} of {remote.num_bytes:,} bytes")


def _find_offset(remote: Remote, response: http.client.HTTPResponse, start: int, part: Path) -> int:
    """Where the body of an answer begins in the file: `start`, or 0 where the server sends all of it.

    Raises:
        TryAgainError: Another part than was asked for; the next attempt begins from the first byte.
        CxrError: A page, or a file of another size than published.
    """
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise not_the_file(remote.url)
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", ""))
        tag, old_tag = version_tag(headers), _read_tag(part)
        # another version or another place: joined to what is here it would be no file at all
        if not found or int(found[1]) != start or (tag and old_tag and tag != old_tag):
            _drop(part)
            raise TryAgainError("the server sends another part of the file than was asked for")
        total, offset = found[2], start
    elif response.status == 200:
        total, offset = headers.get("Content-Length", "*"), 0
        if start:
            say(f"{remote.name}: the server sends the whole file again")
    else:
        raise not_the_file(remote.url, f"answers {response.status}")
    if total.isdecimal() and int(total) != remote.num_bytes:
        problem = f"has {int(total):,} bytes, and {remote.num_bytes:,} are published"
        raise not_the_file(remote.url, problem)
    return offset


def _tag_of(part: Path) -> Path:
    return part.with_name(part.name + ".tag")


def _read_tag(part: Path) -> str:
    try:
        return _tag_of(part).read_text(encoding="latin-1").strip()
    except OSError:
        return ""


def _write_tag(part: Path, headers: Message) -> None:
    tag = version_tag(headers)
    if tag:
        _tag_of(part).write_text(tag, encoding="latin-1")
    else:
        _tag_of(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if is_file(part) else 0


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_of(part).unlink(missing_ok=True)
