"""cxr download: the files of a dataset, where its publisher lets anybody have them."""

import shlex
from pathlib import Path

from cxr.console import count, say
from cxr.download import nih
from cxr.download.elsewhere import DATASETS
from cxr.errors import CxrError, Interrupted
from cxr.streams import show


def download(dataset: str, folder: Path, keep: bool) -> None:
    """Download a dataset into a folder, and print the commands to go on with.

    Args:
        dataset: `nih`, or a name of DATASETS, whose page and conditions are then the error.
        folder: Where it is put.
        keep: Keep the archives once they are unpacked.

    Raises:
        CxrError: Another dataset, or one that must be requested; a disk too small; a file that cannot be had.
    """
    if dataset != "nih":
        raise _refuse(dataset)
    try:
        num_images = nih.download(folder, keep)
    except (KeyboardInterrupt, Interrupted):
        say(f"{folder}: what was downloaded stays; the same command continues")
        raise
    root = shlex.quote(f"data.root={folder}")
    show(f"{count(num_images, 'image')} in {folder}")
    show(f"next: cxr check nih_densenet121 {root}")
    show(f"then: cxr train nih_densenet121 {root}")


def _refuse(dataset: str) -> CxrError:
    """The error for a dataset that cxr may not download, with where it is and how to go on."""
    found = DATASETS.get(dataset.lower())
    if found is None:
        hint = f"known are nih, {', '.join(DATASETS)}; see docs/data.md"
        return CxrError(f"{dataset}: no dataset that cxr knows of", hint)
    problem = f"{found.title} is handed out by its publisher alone, after {found.how}"
    hint = f"get it from {found.page}, then {found.check}; see docs/data.md"
    return CxrError(f"{dataset}: {problem}", hint)
