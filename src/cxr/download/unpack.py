"""A gzipped tar archive of images becomes a folder; nothing in it can be written anywhere else.

Only regular files whose names are those of images are written, each under its own name in one new folder. An
archive with a link, a device, an absolute path or one with `..` is refused; other files are passed over and
counted. The sizes that an archive states are limited, so that a small file cannot fill the disk.
"""

import os
import re
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cxr.errors import CxrError
from cxr.files import explain_os_errors

_MAX_GROWTH = 2  # PNGs hardly shrink in gzip: more than twice the archive is no archive of images
_SMALL = 1 << 20  # bytes that any archive may unpack to
_MAX_FILES = 1_000_000
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    Attributes:
        num_images: Images written.
        num_others: Files that are no images, and were passed over.
    """

    num_images: int
    num_others: int


def unpack(archive: Path, folder: Path, names: re.Pattern[str], report: Callable[[int], None]) -> Unpacked:
    """Write the images of an archive into a new folder.

    Args:
        archive: A .tar.gz.
        folder: The folder, which must not exist; the images stand in `images/` below it.
        names: What the whole name of an image's file is like, without folders.
        report: Told how many bytes of the archive are done.

    Raises:
        CxrError: A damaged archive, one that holds a link or a path outside, or too much; a full disk.
    """
    with explain_os_errors(folder):
        (folder / "images").mkdir(parents=True)
    try:
        # r|gz reads from the beginning to the end, without going back: the whole is unpacked once
        with archive.open("rb") as file, tarfile.open(fileobj=file, mode="r|gz") as tar:
            result = _write_images(tar, archive, folder / "images", names, lambda: report(file.tell()))
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:  # gzip's BadGzipFile is an OSError
        problem = f"{archive}: is damaged: {error}"
        raise CxrError(problem, "delete it; the same command downloads it again") from None
    if not result.num_images:
        raise CxrError(f"{archive}: holds no image", "delete it; the same command downloads it again")
    os.sync()  # once for thousands of files, before the folder counts as whole
    return result


def _write_images(
    tar: tarfile.TarFile, archive: Path, images: Path, names: re.Pattern[str], report: Callable[[], None]
) -> Unpacked:
    allowed = _MAX_GROWTH * archive.stat().st_size + _SMALL
    num_bytes = num_images = num_others = 0
    for member in tar:
        name = _plain_name(member, archive)
        # as the archive states it, before a byte is written
        num_bytes += member.size
        if num_bytes > allowed or num_images + num_others > _MAX_FILES:
            problem = f"unpacks to more than {allowed:,} bytes or {_MAX_FILES:,} files"
            raise CxrError(f"{archive}: {problem}", "it is no archive of images; delete it")
        if member.isdir():
            continue
        if not names.fullmatch(name):
            num_others += 1
            continue
        content = tar.extractfile(member)
        assert content is not None  # a regular file
        _write_image(images / name, content)
        num_images += 1
        report()
    return Unpacked(num_images, num_others)


def _plain_name(member: tarfile.TarInfo, archive: Path) -> str:
    """The last part of a member's name.

    Raises:
        CxrError: No file and no folder, or a path that leads out of the folder.
    """
    parts = member.name.split("/")
    is_outside = member.name.startswith("/") or ".." in parts or "\\" in member.name or "\0" in member.name
    if is_outside or not (member.isreg() or member.isdir()):
        kind = "a path outside" if is_outside else "a link or a device"
        raise CxrError(f"{archive}: holds {kind}: {member.name}", "it is not what NIH publishes; delete it")
    return parts[-1]


def _write_image(path: Path, content: IO[bytes]) -> None:
    """Write a file that must not exist; a disk that is full ends it with the error of the user."""
    chunk = content.read(_CHUNK)  # an error of the archive is not one of the disk
    with explain_os_errors(path), path.open("xb") as file:
        while chunk:
            file.write(chunk)
            chunk = content.read(_CHUNK)
