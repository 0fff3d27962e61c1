"""File names of overlays: one for each image and finding, readable in any script, and never too long."""

import hashlib
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from cxr.images.kinds import OVERLAY, is_overlay

_RESERVED = re.compile(r'[/\\:*?"<>|]+')
_MOST_MARK = 4096
_MOST_BYTES = (
    90  # of the image's and of the finding's part; names end at 255 bytes, on some file systems at 143
)


class OverlayNames:
    """`<image>_<finding>.png`, numbered where two would be one, or where another's file has the name.

    Two names are one where they differ in case or Unicode form alone, as on file systems that ignore these. An overlay
    says in its PNG which image it is of, so that a later run replaces the overlays of its own images and no other file.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._stems: dict[str, str] = {}  # whose images' stems are
        self._names: dict[str, tuple[str, str]] = {}
        self._there: dict[
            str, str
        ] = {}  # whose the files are that lie there; of nobody where cxr did not draw them
        self._old: dict[str, list[Path]] = defaultdict(list)  # the overlays of each image that lie there
        for path in _list_pngs(folder) if folder else ():
            owner, stem = _read_mark(path) or ("", "")
            self._there[_same(path.stem)] = owner
            if owner:
                self._stems.setdefault(_same(stem), owner)
                self._old[owner].append(path)

    def choose(self, file: Path, finding: str) -> tuple[Path, str]:
        """(the overlay of an image and a finding, what its PNG is to say)."""
        assert self.folder is not None
        owner = _owner(file)
        image, stem, number = _clean(file.stem), _clean(file.stem), 2
        while self._stems.setdefault(_same(stem), owner) != owner:
            stem, number = f"{image}-{number}", number + 1
        first = name = stem + "_" + _clean(re.sub(r"\s+", "_", finding))
        number = 2
        while not self._is_free(_same(name), owner, finding):
            name, number = f"{first}-{number}", number + 1
        return self.folder / f"{name}.png", json.dumps([owner, stem])

    def _is_free(self, name: str, owner: str, finding: str) -> bool:
        if self._there.get(name, owner) != owner:
            return False
        return self._names.setdefault(name, (owner, finding)) == (owner, finding)

    def drop_old(self, file: Path, drawn: Collection[Path]) -> None:
        """Remove the overlays of an image that an earlier run drew and this one did not."""
        names = {_same(path.stem) for path in drawn}
        for path in self._old.pop(_owner(file), ()):
            if _same(path.stem) not in names:
                path.unlink(missing_ok=True)


def _list_pngs(folder: Path) -> list[Path]:
    try:
        return [Path(entry) for entry in os.scandir(folder) if entry.name.lower().endswith(".png")]
    except FileNotFoundError:
        return []


def _read_mark(path: Path) -> tuple[str, str] | None:
    """(whose overlay a file is, how that image's overlays begin), None of files that cxr did not draw."""
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_MARK)
        if not is_overlay(data):
            return None
        start = 37 + len(OVERLAY)
        owner, stem = json.loads(data[start : 37 + 4 + int.from_bytes(data[33:37], "big")])
    except (OSError, ValueError, TypeError):  # one that cannot be read is nobody's
        return None
    return (owner, stem) if isinstance(owner, str) and isinstance(stem, str) else None


def _owner(file: Path) -> str:
    """What tells an image file from all others: a hash, as an overlay is to say no more of it than its name does."""
    path = os.path.abspath(file).encode(errors="surrogatepass")
    return hashlib.blake2b(path, digest_size=8).hexdigest()


def _clean(text: str) -> str:
    """Without letters that file systems reserve or that nobody sees; a long text ends in its hash."""
    seen = "".join("_" if unicodedata.category(letter)[0] == "C" else letter for letter in text)
    cleaned = re.sub(r"^\.", "_", _RESERVED.sub("_", seen))
    data = cleaned.encode()
    if len(data) <= _MOST_BYTES:
        return cleaned
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return data[: _MOST_BYTES - 9].decode(errors="ignore") + "-" + digest


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
