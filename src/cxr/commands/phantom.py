"""cxr phantom: generated chest-like images in the layout of a dataset."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from cxr.config.schema import Phantom
from cxr.console import count
from cxr.errors import CxrError
from cxr.phantom.dataset import generate
from cxr.streams import show


def phantom(folder: Path, num_images: int, size: int, layout: Literal["nih", "chexpert"], seed: int) -> None:
    """Write the images and their tables into a new folder, and print how many.

    Raises:
        CxrError: A number that is out of range, or a folder that exists or cannot be written.
    """
    try:
        wanted = Phantom(num_images=num_images, size=size, layout=layout, seed=seed)
    except ValidationError as error:
        problems = []
        for item in error.errors():
            option = str(item["loc"][0]).removeprefix("num_")
            problems.append(f"--{option}: {item['msg']}, not {item['input']}")
        raise CxrError(problems, "cxr phantom --help lists the options") from None
    generate(folder, wanted)
    show(f"{count(num_images, 'image')} in {folder}")
