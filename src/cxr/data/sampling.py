"""How many training rows and steps an epoch has; refuses datasets that cannot be trained on.

Which rows, and in which order, is drawn in loader.py, which needs torch.
"""

from collections.abc import Mapping, Sequence

from cxr.config.schema import Config
from cxr.errors import CxrError
from cxr.labels.targets import Targets

_MIN_SIZE = 64  # pixels; smaller model inputs have a last feature map of 1 x 1


def num_visits(num_rows: int, weight: float) -> int:
    """How many training rows of a dataset an epoch has, with repetitions; the same number in every epoch."""
    # 2.3: every row twice, and three in ten of them a third time
    return int(weight) * num_rows + num_drawn(num_rows, weight)


def num_drawn(num_rows: int, weight: float) -> int:
    """How many of its rows an epoch has once more than the others: the fraction of the weight."""
    return round((weight - int(weight)) * num_rows)


def count_steps(
    config: Config, images: Mapping[str, int], visits: Sequence[int], num_processes: int = 1
) -> int:
    """Steps of an epoch.

    Args:
        config: The recipe.
        images: Rows of all datasets by split.
        visits: Training rows that an epoch has of each dataset, see `num_visits`.
        num_processes: Processes over which a batch is divided.

    Raises:
        CxrError: No training or validation images; a last batch too small for batch norm.
    """
    empty = [f"data.split: no images for {split}" for split in ("train", "val") if not images[split]]
    if empty:
        raise CxrError(empty, "unpack more of the dataset, or take another data.split")
    if not sum(visits):
        raise CxrError("data.weight: no training row is ever visited", "raise data.weight")
    # before hours of training: the short batch comes at the end of the first epoch
    _check_last_batch(config, sum(visits), num_processes)
    # rounded up: the last batch of an epoch is shorter, and is trained on
    return -(-sum(visits) // config.train.batch_size)


def check_selection_metric(config: Config, validation: Targets) -> None:
    """Refuse to select the best epoch by an AUROC that no epoch could have.

    Raises:
        CxrError: Under train.select=auroc, validation rows of one class for every finding.
    """
    # [C] findings that have a known row of each class
    has_negative = (validation.mask & (validation.y == 0)).any(axis=0)
    has_positive = (validation.mask & (validation.y == 1)).any(axis=0)
    if config.train.select == "auroc" and not (has_negative & has_positive).any():
        problem = "the validation rows hold one class only for every finding, so no epoch has an AUROC"
        hint = "take another data.split or a larger data.val_fraction, or train.select=loss"
        raise CxrError(f"data.split: {problem}", hint)


def _check_last_batch(config: Config, num_images: int, num_processes: int) -> None:
    """Refuse a micro-batch of one image whose last feature map is one pixel: batch norm has no variance."""
    batch_size = config.train.batch_size
    # of the last batch, and of a whole one where there is any
    num_last = num_images % batch_size or batch_size
    smallest = min(
        _min_micro_batch(-(-num // num_processes), config.train.accumulate)
        for num in {num_last, min(num_images, batch_size)}
    )
    if smallest == 1 and config.image.size < _MIN_SIZE and config.model.train_layers != "head":
        problem = f"image.size: {config.image.size} is too small for a batch of one"
        where = f"which ends an epoch of {num_images:,} in batches of {batch_size}"
        raise CxrError(f"{problem}, {where}", "image.size=64, or another train.batch_size")


def _min_micro_batch(num_rows: int, num_parts: int) -> int:
    """Rows in the smallest of the micro-batches that `Batch.split` makes of so many rows."""
    # parts of equal length, rounded up; what is left for the last one may be less
    length = -(-num_rows // num_parts)
    return num_rows % length or length
