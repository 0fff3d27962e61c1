"""File names of overlays: one for each image and finding, readable in any script, never too long."""

import hashlib
import io
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np

from cxr.arrays import Float32
from cxr.images.kinds import OVERLAY, is_overlay

_RESERVED = re.compile(r'[/\\:*?"<>|]+')
_MAX_HEAD = 4096  # bytes that are read of a PNG's beginning or a map's end; a mark is far shorter
_MAX_BYTES = (
    90  # of the image's and of the finding's part; names end at 255 bytes, on some file systems at 143
)


class OverlayNames:
    """`<image>_<finding>.png`, numbered where the name belongs to another image, finding or file.

    Names count as equal where they differ in case or Unicode form alone, as on file systems that ignore
    these. An overlay says in its PNG which image it shows, so that a later run replaces overlays of its
    images and no other file. A map beside it (`.npy`) says the same behind its array.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        # Keys are names as `_key` gives them; owners are hashes of image paths (`_owner`).
        self._stem_owners: dict[str, str] = {}  # which image a stem belongs to
        self._taken: dict[str, tuple[str, str]] = {}  # names of this run: owner and finding
        self._existing: dict[str, str] = {}  # files in the folder: owner, empty where cxr did not draw them
        self._old: dict[str, list[Path]] = defaultdict(list)  # overlays in the folder by owner
        for path in _list_files(folder) if folder else ():
            owner, stem = _read_mark(path) or ("", "")
            # a name with a file that cxr did not write stays theirs, whether PNG or map
            self._existing[_key(path.stem)] = owner if self._existing.get(_key(path.stem), owner) else ""
            if owner:
                self._stem_owners.setdefault(_key(stem), owner)
                self._old[owner].append(path)

    def choose(self, file: Path, finding: str, is_finding: bool = True) -> tuple[Path, str]:
        """(the overlay of an image and a finding, the text that marks its PNG).

        Without `is_finding` it is a name such as `sheet`, which a finding may have too.
        """
        assert self.folder is not None
        owner = _owner(file)
        # A stem belongs to one image; `setdefault` takes a free one.
        cleaned = stem = clean_name(file.stem)
        number = 2
        while self._stem_owners.setdefault(_key(stem), owner) != owner:
            stem, number = f"{cleaned}-{number}", number + 1
        # A name belongs to one image and finding: A|B and A/B are both written A_B.
        first = name = stem + "_" + clean_name(re.sub(r"\s+", "_", finding))
        number = 2
        while not self._take(_key(name), owner, finding if is_finding else f"\0{finding}"):
            name, number = f"{first}-{number}", number + 1
        return self.folder / f"{name}.png", json.dumps([owner, stem])

    def _take(self, key: str, owner: str, finding: str) -> bool:
        """Whether a name is free, or of this image and finding already; it then belongs to them."""
        if self._existing.get(key, owner) != owner:
            return False
        return self._taken.setdefault(key, (owner, finding)) == (owner, finding)

    def drop_old(self, file: Path, drawn: Collection[Path]) -> None:
        """Remove the overlays and maps of an image that an earlier run drew and this one did not."""
        keys = {_key(path.name) for path in drawn}
        for path in self._old.pop(_owner(file), ()):
            if _key(path.name) not in keys:
                path.unlink(missing_ok=True)


def encode_npy(values: Float32, mark: str) -> bytes:
    """A .npy file whose mark stands behind the array, where `numpy.load` does not look."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue() + OVERLAY + mark.encode("ascii")


def _list_files(folder: Path) -> list[Path]:
    try:
        return [Path(entry) for entry in os.scandir(folder) if entry.name.lower().endswith((".png", ".npy"))]
    except FileNotFoundError:
        return []


def _read_mark(path: Path) -> tuple[str, str] | None:
    """(the owner of an overlay, the stem of its names), None of files that cxr did not draw."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        is_map = path.suffix.lower() == ".npy"
        with path.open("rb") as file:
            if is_map:
                file.seek(max(0, path.stat().st_size - _MAX_HEAD))
            data = file.read(_MAX_HEAD)
        if is_map:
            _, found, text = data.rpartition(OVERLAY)
            if not found:
                return None
        elif is_overlay(data):
            # The second chunk begins at byte 33: 4 bytes of length, 4 of type, then its content.
            text = data[37 + len(OVERLAY) : 37 + 4 + int.from_bytes(data[33:37], "big")]
        else:
            return None
        owner, stem = json.loads(text)
    except (OSError, ValueError, TypeError):  # whose it is cannot be read: it is never replaced
        return None
    return (owner, stem) if isinstance(owner, str) and isinstance(stem, str) else None


def _owner(file: Path) -> str:
    """A hash of an image's path: an overlay that is passed on must not name the folders of its image."""
    path = os.path.abspath(file).encode(errors="surrogatepass")
    return hashlib.blake2b(path, digest_size=8).hexdigest()


def clean_name(text: str) -> str:
    """A part of a file's name: without invisible and reserved letters; a long text ends in its hash."""
    seen = "".join("_" if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    cleaned = re.sub(r"^\.", "_", _RESERVED.sub("_", seen))
    data = cleaned.encode()
    if len(data) <= _MAX_BYTES:
        return cleaned
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    # 9 bytes of "-" and hash; a letter that is cut within its bytes is dropped
    return data[: _MAX_BYTES - 9].decode(errors="ignore") + "-" + digest


def _key(name: str) -> str:
    """The name without differences of case and Unicode form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
