"""What an epoch is: how many training rows of each archive it visits, in how many steps, and where none can be."""

from collections.abc import Mapping, Sequence

from cxr.config.schema import Config
from cxr.errors import CxrError
from cxr.labels.targets import Targets

_SMALLEST = 64  # model inputs from here on have a last feature map of more than one pixel


def num_visits(num_rows: int, weight: float) -> int:
    """How often an epoch visits an archive's training rows, in every epoch the same number."""
    return int(weight) * num_rows + num_drawn(num_rows, weight)


def num_drawn(num_rows: int, weight: float) -> int:
    """How many of the rows an epoch visits once more than the others: the fraction of the weight."""
    return round((weight - int(weight)) * num_rows)


def count_steps(
    config: Config, images: Mapping[str, int], visits: Sequence[int], num_processes: int = 1
) -> int:
    """Steps of an epoch.

    Args:
        config: The recipe.
        images: Rows of all archives by split.
        visits: What an epoch visits of each archive.
        num_processes: Over which a batch is divided.

    Raises:
        CxrError: No training or validation images; a last batch too small for batch norm.
    """
    empty = [f"data.split: no images for {fold}" for fold in ("train", "val") if not images[fold]]
    if empty:
        raise CxrError(empty, "unpack more of the archive, or take another data.split")
    if not sum(visits):
        raise CxrError("data.weight: no training row is ever visited", "raise data.weight")
    _check_last_batch(config, sum(visits), num_processes)
    return -(-sum(visits) // config.train.batch_size)


def check_judgeable(config: Config, validation: Targets) -> None:
    """Refuse to select by an AUROC that no epoch could have.

    Raises:
        CxrError: Under train.select=auroc, validation rows of one class for every finding.
    """
    both = [(validation.mask & (validation.y == label)).any(axis=0) for label in (0, 1)]
    if config.train.select == "auroc" and not (both[0] & both[1]).any():
        what = (
            "data.split: the validation rows hold one class only for every finding, so no epoch has an AUROC"
        )
        raise CxrError(what, "take another data.split or a larger data.val_fraction, or train.select=loss")


def _smallest_part(num: int, parts: int) -> int:
    """Rows in the smallest of the parts that `Batch.split` makes of so many rows."""
    length = -(-num // parts)
    return num % length or length


def _check_last_batch(config: Config, num_images: int, num_processes: int) -> None:
    """Refuse a batch of one image whose last feature map is one pixel: batch norm would divide by no variance."""
    last = num_images % config.train.batch_size or config.train.batch_size
    batches = {last, min(num_images, config.train.batch_size)}
    smallest = min(_smallest_part(-(-batch // num_processes), config.train.accumulate) for batch in batches)
    if smallest == 1 and config.image.size < _SMALLEST and config.model.train_layers != "head":
        what = f"image.size: {config.image.size} is too small for a batch of one, which ends an epoch of {num_images:,}"
        raise CxrError(
            f"{what} in batches of {config.train.batch_size}", "image.size=64, or another train.batch_size"
        )
