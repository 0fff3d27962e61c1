"""The images on which an exported file is compared with PyTorch: the run's, given ones, or generated ones."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cxr.arrays import Float64
from cxr.config.schema import Phantom
from cxr.console import count
from cxr.data.dataset import Dataset, list_dataset
from cxr.data.loader import Rows
from cxr.data.placement import SharedPixels
from cxr.deploy.predict_files import find_inputs
from cxr.errors import CxrError, NoImageError
from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess, kept_box, prepare
from cxr.images.read import read_file
from cxr.model.candidate import check_unchanged, evaluation_config
from cxr.model.checkpoint import Checkpoint
from cxr.phantom.dataset import generate

MAX_CHECKED = 100
"""Images that a file is compared with PyTorch on."""
BATCH_SIZE = 32
_NUM_GENERATED = 8


@dataclass(frozen=True)
class CheckImages:
    """Images for a comparison.

    Attributes:
        name: What they are, as `100 validation images of the run`.
        squares: uint8 [n, S, S].
        greys: The same images in their own sizes, as the file takes them; none where only squares are known.
    """

    name: str
    squares: Tensor
    greys: tuple[Grey, ...] = ()


@dataclass(frozen=True)
class RunImages:
    """The images of a run's dataset that are packed in its store."""

    dataset: Dataset

    def choose_rows(self, split: str, at_most: int = 0) -> Rows:
        """Rows of a split, all or so many in equal distances."""
        rows = self.dataset.rows(split)
        if not at_most or len(rows) <= at_most:
            return rows
        return rows[np.linspace(0, len(rows) - 1, at_most).round().astype(np.int64)]

    def batches(self, rows: Rows) -> Iterator[Tensor]:
        """Squares uint8 [B, S, S] of rows, in their order."""
        loader = SharedPixels(torch.device("cpu")).open_loader(self.dataset, rows, "disk")
        for batch in loader.batches(rows, BATCH_SIZE):
            yield batch.images[torch.from_numpy(batch.rows >= 0)]  # without those that fill the last batch

    def labels(self, rows: Rows) -> Float64:
        """[n, C] 1, 0, or nan where a label is masked or uncertain, as `predict_dataset` takes them."""
        targets = self.dataset.select(rows)
        known = targets.mask & ((targets.y == 0) | (targets.y == 1))
        return np.where(known, targets.y, np.nan).astype(np.float64)


class NoRunImagesError(Exception):
    """The run's images cannot be used; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def open_run_images(run: Path, checkpoint: Checkpoint, overrides: Sequence[str]) -> RunImages:
    """The images of a run, where its dataset and its store are there; nothing is generated or packed.

    Raises:
        NoRunImagesError: They are not there.
        CxrError: Wrong overrides.
    """
    trained = checkpoint.metadata
    config = evaluation_config(trained.config, trained.findings, overrides)
    check_unchanged(config, trained, run)
    for section in (config.data, *config.data.also):
        if not section.root.is_dir():  # a phantom would be generated there
            raise NoRunImagesError(f"{section.root}: no such folder")
    try:
        listed = list_dataset(config, partly=True)
    except CxrError as error:
        raise NoRunImagesError(error.problems[0]) from None
    if any(store is None for store in listed.stores):
        raise NoRunImagesError("its images are not packed")
    dataset = listed.open(may_pack=False)
    if not len(dataset.rows("val")):
        raise NoRunImagesError("its dataset has no validation images")
    return RunImages(dataset)


def take_validation(images: RunImages) -> CheckImages:
    """Validation images of a run, at most MAX_CHECKED."""
    rows = images.choose_rows("val", MAX_CHECKED)
    squares = torch.cat(list(images.batches(rows)))
    return CheckImages(f"{count(len(squares), 'validation image')} of the run", squares)


def read_images(paths: Sequence[Path], preprocess: Preprocess) -> CheckImages:
    """Images of files and folders, at most MAX_CHECKED.

    Raises:
        CxrError: One of them cannot be read, or there is none.
    """
    greys = []
    for found in find_inputs(paths, None):
        if found.kind == "unreadable":
            raise CxrError(f"{found.path}: {found.reason}", "name image files, or a folder of them")
        if found.kind != "image":
            continue
        try:
            greys.append(without_borders(read_file(found.path, preprocess.intensity), preprocess))
        except NoImageError:
            if found.is_named:
                raise
        if len(greys) == MAX_CHECKED:
            break
    if not greys:
        raise CxrError("--images: no image in it", "name image files, or a folder of them")
    return _prepare(count(len(greys), "given image"), greys, preprocess)


def generate_images(preprocess: Preprocess) -> CheckImages:
    """Images of the phantom, which say little about radiographs."""
    size = max(64, min(2 * preprocess.size, 1024))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantom"
        generate(root, Phantom(num_images=_NUM_GENERATED, size=size))
        files = sorted(root.glob("images/*"))
        greys = [without_borders(read_file(file, preprocess.intensity), preprocess) for file in files]
    return _prepare(f"{len(greys)} generated images, no radiographs", greys, preprocess)


def without_borders(grey: Grey, preprocess: Preprocess) -> Grey:
    """The image that an exported file takes: its borders are cut off before it."""
    return np.ascontiguousarray(grey[kept_box(grey, preprocess).slices])


def _prepare(name: str, greys: Sequence[Grey], preprocess: Preprocess) -> CheckImages:
    squares = torch.from_numpy(np.stack([prepare(grey, preprocess) for grey in greys]))
    return CheckImages(name, squares, tuple(greys))
