"""The image files of a store's rows, and how packing reads them."""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cxr.errors import UnavailableFileError, UnreadableImageError
from cxr.images.grey import Grey, Intensity
from cxr.images.large_images import image_memory
from cxr.images.notes import Notes, note_constant
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file

Read = Callable[[str], Grey]
"""Grey pixels of a path."""

_NUM_PROBED_BYTES = 64 << 20  # reserved and not touched; a decoder of a radiograph takes about as many


@dataclass(frozen=True)
class StoreFiles:
    """The files of a store's rows.

    Attributes:
        root: Folder that `paths` are relative to.
        paths: N files.
        names: N row keys.
        read: Grey pixels of one of the paths.
        are_files: Whether each path is a file below root, and not a key that only `read` knows.
        notes: Warnings about the files that were read.
    """

    root: Path
    paths: Sequence[str]
    names: Sequence[str]
    read: Read
    are_files: bool = True
    notes: Notes = field(default_factory=Notes, repr=False)

    def path(self, row: int) -> str:
        """The path of a row's file."""
        return os.path.join(str(self.root), self.paths[row])

    def square(self, row: int, preprocess: Preprocess) -> Grey:
        """The pixels [S, S] of a row's file, as the store holds them.

        Raises:
            UnreadableImageError: The content of the file is no image that can be decoded.
            UnavailableFileError: The file cannot be read now, which says nothing of its content.
        """
        try:
            with image_memory():
                return prepare(self.read(self.paths[row]), preprocess)
        except UnreadableImageError:
            self._check_damage(row)
            raise
        except (MemoryError, OSError) as error:
            raise UnavailableFileError(self.path(row), error) from None

    def _check_damage(self, row: int) -> None:
        """Tell a damaged file from an unmounted folder and from no memory, which decoders report alike."""
        if self.are_files and not os.path.exists(self.path(row)):
            raise UnavailableFileError(self.path(row), FileNotFoundError(errno.ENOENT, "")) from None
        try:
            bytes(_NUM_PROBED_BYTES)  # from calloc, which touches no page of them
        except MemoryError as error:
            raise UnavailableFileError(self.path(row), error) from None


def list_files(
    root: Path, paths: Sequence[str], images: Sequence[str], intensity: Intensity, read_pixels: Read | None
) -> StoreFiles:
    """The files of a store's rows, read as packing reads them."""
    notes = Notes()
    read = reader(root, intensity, read_pixels, notes)
    return StoreFiles(root, paths, images, read, are_files=read_pixels is None, notes=notes)


def reader(
    root: Path, intensity: Intensity, read_pixels: Read | None = None, notes: Notes | None = None
) -> Read:
    """The function that reads grey pixels of a path as packing does.

    It is the source's reader where it has one; else the path is of a file below root. Warnings about the
    pixels are added to the notes.
    """
    kept = Notes() if notes is None else notes

    def read(path: str) -> Grey:
        if read_pixels is None:
            return read_file(root / path, intensity, lambda sentence: kept.add(path, sentence))
        grey = read_pixels(path)
        note_constant(grey, lambda sentence: kept.add(path, sentence))
        return grey

    return read
