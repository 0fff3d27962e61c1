"""The file of each image that a table names, and the nearest file where there is none of that name."""

import os
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from cxr.console import count
from cxr.errors import CxrError
from cxr.fields.identity import normalise

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".j2k", ".tif", ".tiff", ".bmp", ".gif", ".webp",
    ".dcm", ".dicom", ".ima",
)  # fmt: skip
"""Endings that are no part of an image's name."""
_MAX_NEAREST = 3


def stem(name: str) -> str:
    """The name without the ending of an image file; dots of other endings, as in UIDs, stay."""
    ending = os.path.splitext(name)[1]
    return name[: -len(ending)] if ending.lower() in IMAGE_SUFFIXES else name


def find_files(root: Path, images: Sequence[str]) -> tuple[list[str], list[str]]:
    """(each image's file below root, empty where there is none; notes on files found by a looser rule).

    A file has the very name, or else it is the only one below root that has it

    1. but for white space or the Unicode form,
    2. with an ending, where the table leaves it out,
    3. in a folder below, where the table names no folder; perhaps with an ending, too.

    Args:
        root: Folder that names are relative to.
        images: [N] names with forward slashes, as the table says them.
    """
    paths = existing(root, images)
    lost = [row for row, path in enumerate(paths) if not path]
    for row, path in zip(lost, existing(root, [_clean(images[row]) for row in lost]), strict=True):
        paths[row] = path  # the table had white space around the name
    # Folders are searched only now: a dataset whose names are right is never listed.
    lost = [row for row in lost if not paths[row]]
    if not lost:
        return paths, []
    index = Index.of(root)
    rules = {
        "but for white space or the Unicode form": index.same,
        "with an ending": index.with_ending,
        "in a folder below": index.in_folder,
    }
    notes = []
    for difference, find in rules.items():
        found = [row for row in lost if find(images[row])]
        for row in found:
            paths[row] = find(images[row])
        if found:
            num_files, row = count(len(found), "image file"), found[0]
            notes.append(f"{num_files} found {difference}, such as {paths[row]} for {images[row]}")
        lost = [row for row in lost if not paths[row]]
    return paths, notes


@dataclass(frozen=True)
class Index:
    """The files below a folder, to be asked for by part of their name."""

    paths: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> "Index":
        """Every file below root but hidden ones, of each folder once.

        Links to folders are followed after all that is really there, so that a file has its real name. A
        folder that was seen is not entered again, so a circle of links ends.
        """
        found: list[str] = []
        # a link to a folder above would list everything again, with the folder itself
        seen = {_identity(above) for above in Path(root).resolve().parents}
        starts = [str(root)]
        for start in starts:  # grows while it is read: links are appended
            for folder, folders, files in os.walk(start):
                if _identity(folder) in seen:
                    folders.clear()  # os.walk then enters none of them
                    continue
                seen.add(_identity(folder))
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                paths = [os.path.join(folder, name) for name in folders]
                starts += [path for path in paths if os.path.islink(path)]
                below = os.path.relpath(folder, root)
                for name in files:
                    if not name.startswith(".") and not _is_broken_link(os.path.join(folder, name)):
                        found.append(name if below == "." else f"{below}/{name}")
        return cls(tuple(sorted(found)))

    @cached_property
    def _same(self) -> dict[str, str]:
        return map_unique((_clean(path), path) for path in self.paths)

    @cached_property
    def _stems(self) -> dict[str, str]:
        return map_unique((stem(_clean(path)), path) for path in self.paths)

    @cached_property
    def _names(self) -> dict[str, str]:
        return map_unique((PurePosixPath(_clean(path)).name, path) for path in self.paths)

    @cached_property
    def _name_stems(self) -> dict[str, str]:
        return map_unique((stem(PurePosixPath(_clean(path)).name), path) for path in self.paths)

    @cached_property
    def _folded(self) -> dict[str, str]:
        # reversed, so that of paths that differ in case alone the first one stays
        return {_clean(path).casefold(): path for path in reversed(self.paths)}

    @cached_property
    def _folded_stems(self) -> dict[str, str]:
        return {stem(PurePosixPath(_clean(path)).name).casefold(): path for path in reversed(self.paths)}

    def same(self, image: str) -> str:
        """The only file of this path but for white space and Unicode form, empty where there is none."""
        return self._same.get(_clean(image), "")

    def with_ending(self, image: str) -> str:
        """The only file of this path with the ending of an image after it."""
        clean = _clean(image)
        return self._stems.get(clean, "") if stem(clean) == clean else ""

    def in_folder(self, image: str) -> str:
        """The only file of this name, perhaps with an ending, in any folder; the image names no folder."""
        clean = _clean(image)
        if "/" in clean:
            return ""
        path = self._names.get(clean, "")
        if not path and stem(clean) == clean:
            path = self._name_stems.get(clean, "")
        return path

    def nearest(self, image: str) -> tuple[str, str] | None:
        """(a file, how it differs from the image's name), None where nothing is near."""
        clean = _clean(image)
        if clean.casefold() in self._folded:
            return self._folded[clean.casefold()], "other case"
        parts = clean.split("/")
        for start in range(1, len(parts)):
            end = "/".join(parts[start:]).casefold()
            if end in self._folded:
                return self._folded[end], f"without {'/'.join(parts[:start])}/"
        path = self._folded_stems.get(stem(parts[-1]).casefold(), "")
        if not path:
            return None
        has_same_name = PurePosixPath(_clean(path)).name.casefold() == parts[-1].casefold()
        return path, "another folder" if has_same_name else "another ending"


def say_nearest(root: Path, images: Iterable[str]) -> str:
    """For a hint, the nearest files to the first images that have none; empty where nothing is near."""
    index, found = Index.of(root), []
    for image in images:
        near = index.nearest(image)
        if near:
            found.append(f"for {image} there is {near[0]} ({near[1]})")
        if len(found) == _MAX_NEAREST:
            break
    return "; ".join(found)


def first_existing(root: Path, candidates: Iterable[Sequence[str]]) -> list[str]:
    """For each of N images the first of its K candidates below root that is a file, empty where none is.

    Args:
        root: Folder that the paths are relative to.
        candidates: [K, N] paths; the first of them are tried for all images, the others for those not found.
    """
    first, *others = candidates
    found = existing(root, first)
    for paths in others:
        lost = [row for row, path in enumerate(found) if not path]
        for row, path in zip(lost, existing(root, [paths[row] for row in lost]), strict=True):
            found[row] = path
    return found


def existing(root: Path, paths: Sequence[str]) -> list[str]:
    """Each path that is below root, empty where there is no file.

    A folder is listed once for all its images; where nearly every image has another folder, as in CheXpert,
    it is cheaper to ask for each file.
    """
    folders = {os.path.dirname(path) for path in paths}
    # fewer than four images a folder
    if len(folders) > len(paths) // 4:
        return [path if _exists(os.path.join(root, path)) else "" for path in paths]
    files = {os.path.join(folder, name) for folder in folders for name in list_folder(root / folder)}
    return [path if path in files else "" for path in paths]


def list_folder(folder: Path) -> list[str]:
    """Names of the files in a folder, none when it is not there.

    Raises:
        CxrError: The folder may not be read.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if _is_file(entry)]
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return []
    except OSError as problem:
        raise CxrError(
            f"{folder}: {problem.strerror or problem}", "check that you may read the folder"
        ) from None


def _is_broken_link(path: str) -> bool:
    return os.path.islink(path) and not os.path.isfile(path)


def _identity(folder: Path | str) -> tuple[int, int]:
    """Device and number of a folder, by which it is known under any name."""
    try:
        status = os.stat(folder)
    except OSError:  # gone, or it may not be entered: os.walk passes it over
        return 0, 0
    return status.st_dev, status.st_ino


def _exists(path: str) -> bool:
    try:
        return os.path.isfile(path)
    except ValueError:  # a NUL in the name
        return False


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:  # a circle of links
        return False


def _clean(path: str) -> str:
    """A path as it is compared: forward slashes, no `./`, Unicode in NFC, no white space around names."""
    parts = unicodedata.normalize("NFC", path.replace("\\", "/")).split("/")
    return "/".join(normalise(part) for part in parts if part not in ("", "."))


def map_unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By key, the only path of that key; empty where there are several."""
    found: dict[str, str] = {}
    for key, path in pairs:
        found[key] = "" if key in found else path
    return found
