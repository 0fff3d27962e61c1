"""File names of overlays: one for each image and finding, readable in any script, and never too long."""

import hashlib
import re
import unicodedata
from pathlib import Path

_RESERVED = re.compile(r'[/\\:*?"<>|]+')
_MOST_BYTES = 90  # of the image's and of the finding's part; names end at 255 bytes, on some file systems at 143


class OverlayNames:
    """`<image>_<finding>.png`, numbered where two would be one.

    Two names are one where they differ in case or Unicode form alone, as on file systems that ignore these.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._stems: dict[str, Path] = {}
        self._names: dict[str, tuple[Path, str]] = {}

    def choose(self, file: Path, finding: str) -> Path:
        """The overlay of an image and a finding."""
        assert self.folder is not None
        image, stem, number = _clean(file.stem), _clean(file.stem), 2
        while self._stems.setdefault(_same(stem), file) != file:
            stem, number = f"{image}-{number}", number + 1
        first = name = stem + "_" + _clean(re.sub(r"\s+", "_", finding))
        number = 2
        while self._names.setdefault(_same(name), (file, finding)) != (file, finding):
            name, number = f"{first}-{number}", number + 1
        return self.folder / f"{name}.png"


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
