"""One image or many, as a caller holds them -> squares for the model, in their order."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from cxr.deploy.predict_files import Input, find_inputs, try_to_read
from cxr.deploy.runtime import Square
from cxr.errors import CxrError, NoImageError
from cxr.images.held import is_dataset, read_held, refuse_bits
from cxr.images.prepare import Preprocess, prepare


@dataclass(frozen=True)
class Held:
    """An image that is no file; `name` stands for it in tables and errors."""

    name: str
    image: object


def list_images(images: object, bits: int | None) -> Iterator[Input | Held]:
    """Every image, those of a folder in the order of their names; each that is named is there, even twice.

    Raises:
        CxrError: `bits` beside a path.
    """
    if isinstance(images, Iterable) and not is_one(images):
        for number, image in enumerate(images):
            yield from _open(image, f"images[{number}]", bits)
    else:
        yield from _open(images, "image", bits)


def is_one(images: object) -> bool:
    """Whether it is one image or folder: an array and a dataset could be iterated too."""
    return isinstance(images, str | os.PathLike | np.ndarray | Image.Image) or is_dataset(images)


def _open(image: object, name: str, bits: int | None) -> Iterator[Input | Held]:
    """The image, or the images of a folder."""
    if isinstance(image, str | os.PathLike):
        refuse_bits(image, name, bits)
        yield from find_inputs([Path(image)], None)
    else:
        yield Held(name_held(image, name), image)


def name_held(image: object, name: str) -> str:
    """The file that Pillow or pydicom read an image from, as far as they say; else the name."""
    file = getattr(image, "filename", "")
    return str(file) if isinstance(file, str | os.PathLike) and str(file) else name


def read_square(image: Input | Held, preprocess: Preprocess, bits: int | None) -> Square | CxrError | None:
    """The square of an image, or why it cannot be read; None for a file that is passed over in a folder.

    Raises:
        UnavailableFileError: No memory.
    """
    if isinstance(image, Input):
        result = try_to_read(image, preprocess)
        # a text file in a folder is no mistake; named by the caller it is one
        is_passed_over = isinstance(result, NoImageError) and not image.is_named
        return None if is_passed_over else result
    notes = list[str]()
    try:
        grey = read_held(image.image, image.name, bits, preprocess.intensity, notes.append)
        return Square(Path(image.name), prepare(grey, preprocess), notes)
    except CxrError as error:
        return error
