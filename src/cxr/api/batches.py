"""Batches of a recipe's dataset for a training loop that is not cxr's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from cxr.config.load import load, override
from cxr.config.schema import Config
from cxr.data.augment import augment as change_randomly
from cxr.data.augment import resample
from cxr.data.dataset import open_dataset
from cxr.data.loader import Rows, epoch_order, epoch_rows
from cxr.data.placement import open_loader
from cxr.device import choose_device
from cxr.errors import CxrError


@dataclass(frozen=True)
class Batch:
    """B images with their targets for F findings.

    Attributes:
        images: float32 [B, 1, size, size], 0 is black and 1 white.
        targets: float32 [B, F] from 0 to 1.
        mask: bool [B, F], False where a target does not count, as of an unknown label.
        names: B names of the images, as the dataset has them.
    """

    images: Tensor
    targets: Tensor
    mask: Tensor
    names: tuple[str, ...]


class Dataset:
    """The images of one split of a recipe, packed first where they are not yet.

    Args:
        recipe: Name of a recipe that comes with cxr, such as `demo`, a YAML file, or a Config.
        split: train, val or test.
        overrides: Keys of the recipe, such as `data.root=/data/nih`.
        device: Where batches are wanted: auto, cpu, cuda, cuda:N or mps.

    Attributes:
        split: train, val or test.
        findings: F names, in the order of the targets' columns.
        rows: [N] a DataFrame of the split's images: `image`, `patient_id`, `study_id`, `view`, `age`, `sex`
            and the further columns that its source has.

    Raises:
        CxrError: All that is wrong with the recipe, its folders, tables, splits or files; no image in the
            split.
    """

    def __init__(
        self,
        recipe: str | Path | Config,
        split: Literal["train", "val", "test"] = "train",
        *,
        overrides: Sequence[str] = (),
        device: str = "cpu",
    ) -> None:
        if isinstance(recipe, Config):
            self._config = override(recipe, overrides)
        else:
            self._config = load(Path(recipe), overrides)
        # before hours of packing: a mistake in its name shows at once
        target = choose_device(device)
        self._dataset = open_dataset(self._config)
        self._rows: Rows = self._dataset.rows(split)
        if not len(self._rows):
            raise CxrError(
                f"split={split!r}: no images", "give train, val or test, or take another data.split"
            )
        self._loader, _ = open_loader(self._dataset, self._rows, self._config.store.where, target)
        self.split = split
        self.findings: tuple[str, ...] = self._dataset.targets.findings
        self.rows = self._dataset.table.rows.iloc[self._rows].reset_index(drop=True)

    def __len__(self) -> int:
        """Images."""
        return len(self._rows)

    def __repr__(self) -> str:
        return f"<cxr.Dataset {self.split}: {len(self):,} images, {len(self.findings)} findings>"

    @property
    def patients(self) -> frozenset[str]:
        """Ids of the patients; no two splits of a recipe share one."""
        return frozenset(self.rows["patient_id"])

    def batches(
        self, epoch: int | None = None, *, batch_size: int | None = None, augment: bool | None = None
    ) -> Iterator[Batch]:
        """The batches of an epoch; every image is in one of them, unless `data.weight` says otherwise.

        With the defaults these are the very batches of `cxr train`: order and augmentation are functions of
        the recipe's seed and of the epoch. Images of val and test come in the order of `rows`.

        Args:
            epoch: Counted from 0; needed for train, as without it each epoch would be the same.
            batch_size: Images of a batch, the last of which may be smaller; None takes train.batch_size.
            augment: Whether images are changed as train.augment says; None does so for train alone.

        Raises:
            CxrError: Split train without an epoch; a batch size below 1.
        """
        is_train = self.split == "train"
        if is_train and epoch is None:
            raise CxrError(
                "epoch: is missing, and each pass would have the same order and augmentation",
                "for epoch in range(10): for batch in dataset.batches(epoch): ...",
            )
        size = self._config.train.batch_size if batch_size is None else batch_size
        if size < 1:
            raise CxrError(f"batch_size={size}: is not positive", "leave it out")
        return self._batches(epoch or 0, size, is_train if augment is None else augment)

    def _batches(self, epoch: int, batch_size: int, is_augmented: bool) -> Iterator[Batch]:
        config, order = self._config, self._rows
        if self.split == "train":
            order = epoch_order(epoch_rows(self._dataset.groups(), config.seed, epoch), config.seed, epoch)
        # the step of `cxr train` at which this epoch begins, as augmentation is a function of the step
        first_step = epoch * -(-len(order) // batch_size)
        image_names = self._dataset.table.rows["image"]
        for step, batch in enumerate(self._loader.batches(order, batch_size), first_step):
            if is_augmented:
                pixels = change_randomly(
                    batch.images, config.image.size, config.train.augment, config.seed, step
                )
            else:
                pixels = resample(batch.images, config.image.size)
            # one process: no row is a filler of -1
            names = tuple(image_names.iloc[batch.rows])
            yield Batch(pixels / 255, batch.y, batch.mask, names)
