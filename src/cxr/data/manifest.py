"""manifest.json of a store: which images it holds, how they were prepared, how it differs from a config."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cxr.images.prepare import Preprocess

FORMAT = 2
MANIFEST, IMAGES = "manifest.json", "images.txt"

_NUM_FINGERPRINTED = 64  # files
_NUM_LISTED = 5  # names in a message


@dataclass(frozen=True)
class Manifest:
    """What a store holds.

    Attributes:
        source: The reader of its dataset, or several joined by +.
        num_images: Its rows.
        keys: Hash of the row keys in their order; it keeps rows and labels from shifting against each other.
        preprocess: How files became squares of pixels.
        format: Version of the store's files.
    """

    source: str
    num_images: int
    keys: str
    preprocess: Preprocess
    format: int = FORMAT

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(asdict(self), indent=2) + "\n"


def make_manifest(source: str, images: Sequence[str], preprocess: Preprocess) -> Manifest:
    """The manifest that a store of these images must have."""
    # in their order: row n of the pixels is the n-th name, so another order is another store
    keys = hashlib.sha256("\n".join(images).encode(errors="surrogatepass")).hexdigest()
    return Manifest(source, len(images), keys, preprocess)


def fingerprint(root: Path, paths: Sequence[str]) -> str:
    """A hash of the sizes of some files, evenly spaced, by which stores of format 1 know their dataset."""
    some = paths[:: max(1, len(paths) // _NUM_FINGERPRINTED)]
    sizes = [(root / path).stat().st_size if (root / path).exists() else -1 for path in some]
    return hashlib.sha256(" ".join(map(str, sizes)).encode()).hexdigest()[:16]


def find_differences(
    found: Mapping[str, object], wanted: Mapping[str, object], prefix: str = ""
) -> Iterator[str]:
    """A line for each value of a manifest, but the hash of keys, that is not what the config asks for."""
    for key, value in wanted.items():
        packed = found.get(key)
        if isinstance(value, dict) and isinstance(packed, dict):
            yield from find_differences(packed, value, f"{prefix}{key}.")
        elif key == "keys" or (key == "format" and packed == 1):  # format 1 can be read, see store.py
            continue
        elif packed != value:
            yield f"packed with {prefix}{key} {packed}, but the config asks for {value}"


def describe_other_images(folder: Path, names: Sequence[str]) -> str:
    """How the images of a store differ from the names [N] of the label table, as far as is known."""
    packed, now = dict.fromkeys(read_images(folder)), dict.fromkeys(names)
    if not packed or not now:
        return "packed from other images, or in another order, than the label table now names"
    # in the order of the table, each name once
    new = [name for name in now if name not in packed]
    gone = [name for name in packed if name not in now]
    if not new and not gone:
        return "packed in another order than the label table now has"
    lists = []
    if new:
        lists.append(f"{len(new):,} new ({list_first(new)})")
    if gone:
        lists.append(f"{len(gone):,} gone ({list_first(gone)})")
    return f"packed from other images than the label table now names: {', '.join(lists)}"


def read_images(folder: Path) -> list[str]:
    """The row keys of a store; none where their file is damaged."""
    try:
        return (folder / IMAGES).read_text(encoding="utf-8").split("\n")[:-1]
    except (OSError, UnicodeDecodeError):
        return []


def list_first(names: Sequence[str]) -> str:
    """The first five names, and ... where there are more."""
    more = ["..."] if len(names) > _NUM_LISTED else []
    return ", ".join([*names[:_NUM_LISTED], *more])
