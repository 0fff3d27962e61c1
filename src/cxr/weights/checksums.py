"""Checksums inside best.safetensors and last.pt, both of which stay files that safetensors and torch read.

best.safetensors carries the SHA-256 of all its bytes, its own 64 digits taken as zeros, as `sha256` in the
metadata. last.pt is a zip file; its comment is `sha256:` and the SHA-256 of all bytes before the comment and
its length.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from cxr.errors import CxrError

ZEROS = "0" * 64
# escaped, as it is in a JSON text that is itself a value of the header's JSON
_FIELD = re.compile(rb'\\"sha256\\":\\"([0-9a-f]{64})\\"')
_LONGEST_HEADER = 100_000_000  # as safetensors allows
_MARK = b"sha256:"
_COMMENT = len(_MARK) + 64
_CHUNK = 1 << 20


def seal_safetensors(data: bytes) -> bytes:
    """The bytes of a safetensors file whose metadata hold ZEROS as `sha256`, with the checksum instead."""
    start, _ = _find_field(data[: 8 + int.from_bytes(data[:8], "little")])
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[:start] + digest + data[start + 64 :]


def check_safetensors(path: Path) -> tuple[str, bool]:
    """(SHA-256 of the file, whether it carries a checksum, which is then right).

    Raises:
        CxrError: Its checksum is another.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(8)
        head += file.read(min(int.from_bytes(head, "little"), _LONGEST_HEADER))
        start, digits = _find_field(head)
        # two digests in one pass: of the bytes as they are, and with zeros in place of the checksum
        whole = hashlib.sha256(head)
        sealed = hashlib.sha256(head[:start] + ZEROS[: len(digits)].encode() + head[start + len(digits) :])
        while chunk := file.read(_CHUNK):
            whole.update(chunk)
            sealed.update(chunk)
    if digits and sealed.hexdigest().encode() != digits:
        raise damage_error(path)
    return whole.hexdigest(), bool(digits)


def _find_field(header: bytes) -> tuple[int, bytes]:
    """(where the checksum's digits begin, the digits); none where there is no checksum."""
    found = _FIELD.search(header)
    return (found.start(1), found[1]) if found else (len(header), b"")


def damage_error(path: Path) -> CxrError:
    """The error for a file whose bytes are not those that were written."""
    return CxrError(
        f"{path}: is damaged: its checksum is not the checksum of its bytes",
        "copy it again from an undamaged file; is the disk damaged?",
    )


def seal_zip(path: Path) -> None:
    """Give a zip file that torch.save wrote its checksum as a comment."""
    size = path.stat().st_size - 2  # a zip file without a comment ends in two bytes that say so
    with path.open("r+b") as file:
        digest = _digest(_first_bytes(path, size))
        file.seek(size)
        file.write(_COMMENT.to_bytes(2, "little") + _MARK + digest.encode())


def check_zip(path: Path) -> bool:
    """Whether a zip file carries a checksum, which is then right.

    Raises:
        CxrError: Its checksum is another.
        OSError: It cannot be read.
    """
    # the comment and the two bytes of its length are the end of the file
    size = path.stat().st_size - _COMMENT - 2
    if size < 0:
        return False
    with path.open("rb") as file:
        file.seek(size)
        length, comment = file.read(2), file.read()
    if not re.fullmatch(_MARK + rb"[0-9a-f]{64}", comment):
        return False
    digest = _digest(_first_bytes(path, size))
    # the length is no part of what was hashed, so it is compared as well
    if length != _COMMENT.to_bytes(2, "little") or digest.encode() != comment[len(_MARK) :]:
        raise damage_error(path)
    return True


def _first_bytes(path: Path, size: int) -> Iterator[bytes]:
    """The first bytes of a file, piece by piece."""
    with path.open("rb") as file:
        while size > 0 and (chunk := file.read(min(_CHUNK, size))):
            size -= len(chunk)
            yield chunk


def _digest(chunks: Iterator[bytes]) -> str:
    """The SHA-256 of chunks one after the other, in hexadecimal digits."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
