"""All of a training run that no step changes."""

from dataclasses import dataclass

import numpy as np
import torch

from cxr.config import Config
from cxr.console import say, warn
from cxr.data.dataset import Dataset
from cxr.data.heap import keep_freed_memory
from cxr.data.loader import Loader, num_visits
from cxr.data.residence import place
from cxr.errors import CxrError
from cxr.model.distributed import World
from cxr.model.loss import ClassWeights, class_weights
from cxr.model.predict import autocast_dtype


@dataclass(frozen=True)
class Run:
    """Recipe, processes, data, class weights, and the arithmetic of the forward pass (None is float32)."""

    config: Config
    world: World
    dataset: Dataset
    loader: Loader
    weights: ClassWeights
    dtype: torch.dtype | None
    steps_per_epoch: int


def prepare(config: Config, dataset: Dataset, world: World) -> Run:
    """Pixels placed, class weights counted, and what cannot be trained refused before any time is spent.

    Raises:
        CxrError: No training or validation images, none to tell epochs apart by; a last batch too small for batch norm.
    """
    for fold in ("train", "val"):
        if not len(dataset.rows(fold)):
            raise CxrError(
                f"data.split: no images for {fold}", "unpack more of the archive, or take another data.split"
            )
    check_judgeable(config, dataset)
    num_rows = num_visits(dataset.groups())
    if not num_rows:
        raise CxrError("data.weight: no training row is ever visited", "raise data.weight")
    check_last_batch(config, num_rows, world.size)
    keep_freed_memory(world.device)
    pixels, where = place(dataset.store, config.store.where, world.device, world.local_size)
    dtype = autocast_dtype(config.train.precision, world.device)
    weights = class_weights(
        dataset.select(dataset.rows("train")),
        config.loss.weighting,
        config.loss.pos_weight_cap,
        np.concatenate([np.full(len(rows), weight) for rows, weight in dataset.groups()]),
    )
    if world.is_first:
        processes = f" in each of {world.size} processes" if world.size > 1 else ""
        say(f"device {world.device}{processes}, {'bfloat16' if dtype else 'float32'}, {where}")
        if weights.one_class:
            names = ", ".join(weights.one_class)
            warn(f"training rows hold one class only for {names}: weights of 1, nothing to learn")
    loader = Loader(pixels, dataset.index, dataset.targets, world.device)
    steps = -(-num_rows // config.train.batch_size)
    return Run(config, world, dataset, loader, weights.to(world.device), dtype, steps)


def check_judgeable(config: Config, dataset: Dataset) -> None:
    """Refuse to select by an AUROC that no epoch could have.

    Raises:
        CxrError: Under train.select=auroc, validation rows of one class for every finding.
    """
    targets = dataset.select(dataset.rows("val"))
    both = [(targets.mask & (targets.y == label)).any(axis=0) for label in (0, 1)]
    if config.train.select == "auroc" and not (both[0] & both[1]).any():
        what = "data.split: the validation rows hold one class only for every finding, so no epoch has an AUROC"
        raise CxrError(what, "take another data.split or a larger data.val_fraction, or train.select=loss")


def _smallest_part(num: int, parts: int) -> int:
    """Rows in the smallest of the parts that `Batch.split` makes of so many rows."""
    length = -(-num // parts)
    return num % length or length


def check_last_batch(config: Config, num_images: int, num_processes: int = 1) -> None:
    """Refuse a batch of one image whose last feature map is one pixel: it has no variance for batch norm to divide by.

    Raises:
        CxrError: An epoch of that many training images ends in such a batch.
    """
    last = num_images % config.train.batch_size or config.train.batch_size
    batches = {last, min(num_images, config.train.batch_size)}
    smallest = min(_smallest_part(-(-batch // num_processes), config.train.accumulate) for batch in batches)
    if smallest == 1 and config.image.size < 64 and config.model.train_layers != "head":
        what = f"image.size: {config.image.size} is too small for a batch of one, which ends an epoch of {num_images:,}"
        raise CxrError(f"{what} in batches of {config.train.batch_size}", "image.size=64, or another train.batch_size")
