"""Files that list the images of a split: reading, matching with a table's images, recognising public ones."""

import hashlib
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path

from cxr.errors import CxrError
from cxr.fields.identity import normalise
from cxr.labels.columns import find_name
from cxr.labels.files_read import note_file
from cxr.labels.lookup import map_unique, stem
from cxr.labels.problems import shorten_problems
from cxr.labels.sheet import decode_text

Listed = Mapping[str, Sequence[str]]
"""Names of images by split (train, val, test)."""

KNOWN_SPLITS: tuple[tuple[str, Mapping[str, str]], ...] = (
    (
        "NIH official",  # train_val_list.txt (86,524 names) and test_list.txt (25,596) of NIH's release
        {
            "train+val": "61fbe896321c1c1c8b75f3e4f3a08e4fef6486d95ef8a667c31d4d60dca6cb81",
            "test": "38ca5ef7f756092946f57c1a59faca882ed589a1ab1f72590b45dc06c6d5e1cc",
        },
    ),
    (
        # random by patient, shared by public CheXNet reproductions: 78,468 / 11,219 / 22,433 names
        "NIH community",
        {
            "train": "7265fa9efe68c5e8afa201c9b7ecf9b25d9e9a9c41fab3e0efe8e650bd405d06",
            "val": "65fd487c51e6316d6db7e547ac0dedd3beb6ef70ea36e74c4e55a77ca5ff40e9",
            "test": "a20c79828a7825d1d5ac7e8e1b2eccdb21db7e87f9449415f40896116264d55a",
        },
    ),
    (
        # train.csv: 223,414 names like train/patient00001/study1/view1_frontal.jpg
        "CheXpert official training set",
        {"train": "3d676e50d2f36abf485b85d7c9f6f98c2824b8e5d73d58ea99002b06eb8e77f8"},
    ),
)
"""Public splits by `hash_names`; a name with `+` is the hash of the names of both splits together."""


def hash_names(names: Iterable[str]) -> str:
    """SHA-256 of the sorted names, joined by line feeds: what a list holds, whatever its order."""
    return hashlib.sha256("\n".join(sorted(names)).encode(errors="surrogatepass")).hexdigest()


def recognise_split(listed: Listed) -> str | None:
    """The name of the public split whose lists hold exactly these images."""
    for name, hashes in KNOWN_SPLITS:
        if all(_hash_together(listed, splits) == digest for splits, digest in hashes.items()):
            return name
    return None


def _hash_together(listed: Listed, splits: str) -> str:
    """The hash of the names of `train`, or of `train+val` together."""
    return hash_names(image for split in splits.split("+") for image in listed[split])


def read_lists(files: Mapping[str, Path], root: Path, images: Collection[str]) -> dict[str, list[str]]:
    """The images of each split, as the table calls them; a name without an image stays as it is listed.

    Args:
        files: The list file of each split, as given or below `root`.
        root: Folder of the dataset.
        images: Names of the images, each once.

    Raises:
        CxrError: A file that is not there, not readable or empty; a name in two lists.
    """
    listed: dict[str, list[str]] = {}
    for split, file in files.items():
        path = next((path for path in (file, root / file) if path.is_file()), None)
        if path is None:
            raise CxrError(f"data.lists: no file {file}", f"looked for {file} and {root / file}")
        listed[split] = read_names(path, images)
    matched = _match_names(listed, images)
    # the list in which each name stood first
    first: dict[str, str] = {}
    problems = []
    for split, names in matched.items():
        for name in names:
            other = first.setdefault(name, split)
            if other != split:
                problems.append(f"data.lists: {name} is in {files[other].name} and {files[split].name}")
    if problems:
        shown = shorten_problems(problems, "data.lists", "names are in two lists")
        raise CxrError(shown, "a name belongs in one list")
    return matched


def read_names(path: Path, known: Container[str] = ()) -> list[str]:
    """The names that a list file holds, a name a line, each once.

    A name is the whole line if it is `known`, else the text up to the first comma or semicolon if that is,
    else up to the first blank, comma or semicolon. A first line that is not known is a header if it has no
    suffix like `.png` and the next line has one, or if it is what a column of images is called.

    Raises:
        CxrError: Not a text file, or empty.
    """
    hint = "a list has an image name a line"
    note_file(path)
    try:
        lines = decode_text(path, path.read_bytes(), "list of names").splitlines()
    except (UnicodeDecodeError, OSError) as problem:
        raise CxrError(f"{path}: not a readable list of names ({problem})", hint) from None
    names = [_read_name(line.strip(), known) for line in lines if line.strip()]
    if names and names[0] not in known and _is_header(names):
        names = names[1:]
    if not names:
        raise CxrError(f"{path}: no names", hint)
    return list(dict.fromkeys(names))


def _read_name(line: str, known: Container[str]) -> str:
    line = normalise(line.replace("\\", "/")).removeprefix("./")
    starts = [line.split(sign, 1)[0].strip().strip('"') for sign in (",", ";")]
    for name in (line, *starts):
        if name in known:  # also one with blanks inside
            return name
    return re.split(r"[\s,;]", line, maxsplit=1)[0].strip('"')


def _is_header(names: Sequence[str]) -> bool:
    """Whether the first of the names is what the column of images is called."""
    first = names[0]
    if "." in first:
        return False
    if len(names) > 1 and "." in names[1]:
        return True
    singular = first.rstrip("sS")
    return find_name([first, singular], "image") is not None or singular.casefold() in ("name", "id")


def _match_names(listed: Listed, images: Collection[str]) -> dict[str, list[str]]:
    """The image that each listed name means, or the name in its plain form where there is none.

    1. `a/b.png` means the image a/b.png, else b.png; `b.png` means b.png;
    2. `b` means the only image b with an ending;
    3. `b.png` means the only image whose file name is b.png.
    """
    by_stem = map_unique((stem(image), image) for image in images)
    by_file_name = map_unique((image.rsplit("/", 1)[-1], image) for image in images)
    in_folders = any("/" in image for image in images)

    def match(name: str) -> str:
        parts = name.split("/")
        for start in range(len(parts)):  # a leading folder less each time
            end = "/".join(parts[start:])
            if end in images:
                return end
        image = by_stem.get(name, "")
        if not image and len(parts) == 1:
            image = by_file_name.get(name, "")
        return image or (name if in_folders else parts[-1])

    return {split: [match(name) for name in names] for split, names in listed.items()}
