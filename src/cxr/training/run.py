"""All of a training run that no step changes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cxr.config.schema import Config
from cxr.console import say, warn
from cxr.data.dataset import Dataset
from cxr.data.freed_memory import keep_freed_memory
from cxr.data.loader import Loader
from cxr.data.placement import open_loader
from cxr.data.sampling import check_judgeable, count_steps
from cxr.distributed import World
from cxr.labels.splits import FOLDS, hash_names
from cxr.model.leakage import images_of, patients_of
from cxr.model.predict import autocast_dtype
from cxr.patient_hash import MAKE_KEY, VARIABLE, hasher_from_environment
from cxr.training.loss import ClassWeights, class_weights
from cxr.training.memory import spare_for_steps


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

    @cached_property
    def identity(self) -> dict[str, str]:
        """See `identify`."""
        return identify(self.dataset)

    @cached_property
    def seen(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(hashes of the patients, of the images) of the rows that train and validate; no row changes in a run."""
        folds, hasher = (
            ("train", "val") if self.config.train.remember_patients else (),
            hasher_from_environment(),
        )
        patients = {fold: patients_of(self.dataset, fold, hasher) for fold in folds}
        return patients, {fold: images_of(self.dataset, fold, hasher) for fold in folds}


def identify(dataset: Dataset) -> dict[str, str]:
    """Hashes of what a run learns from and is evaluated on: each fold's image names, the labels, and the pixels.

    The last by the checksums of the rows that train and validate, where their stores have any.
    """
    names, targets = dataset.table.rows["image"], dataset.targets
    labels = hashlib.sha256(targets.y.tobytes() + targets.mask.tobytes()).hexdigest()
    found = {fold: hash_names(names.iloc[dataset.rows(fold)]) for fold in FOLDS} | {"labels": labels}
    pixels = hashlib.sha256()
    for part in dataset.archives:
        if part.store.crc32 is None:
            return found
        pixels.update(part.store.crc32[part.index[np.isin(part.fold, ("train", "val"))]].tobytes())
    return found | {"pixels": pixels.hexdigest()}


def prepare(config: Config, dataset: Dataset, world: World) -> Run:
    """Pixels placed, class weights counted, and what cannot be trained refused before any time is spent.

    Raises:
        CxrError: No training or validation images, none to tell epochs apart by; a last batch too small for batch norm.
    """
    images = {fold: len(dataset.rows(fold)) for fold in FOLDS}
    steps = count_steps(config, images, dataset.visits(), world.size)
    check_judgeable(config, dataset.select(dataset.rows("val")))
    keep_freed_memory(world.device)
    dtype = autocast_dtype(config.train.precision, world.device)
    used = np.concatenate([dataset.rows("train"), dataset.rows("val")])
    spare = spare_for_steps(config, world.size, dtype)
    loader, where = open_loader(dataset, used, config.store.where, world.device, world.local_size, spare)
    weights = class_weights(
        dataset.select(dataset.rows("train")),
        config.loss.weighting,
        config.loss.pos_weight_cap,
        np.concatenate([np.full(len(rows), weight) for rows, weight in dataset.groups()]),
    )
    if world.is_first:
        processes = f" in each of {world.size} processes" if world.size > 1 else ""
        say(
            f"device {world.device}{processes}, {str(dtype or torch.float32).removeprefix('torch.')}, {where}"
        )
        _say_how_patients_are_kept(config)
        if weights.one_class:
            names = ", ".join(weights.one_class)
            warn(f"training rows hold one class only for {names}: weights of 1, nothing to learn")
    return Run(config, world, dataset, loader, weights.to(world.device), dtype, steps)


def _say_how_patients_are_kept(config: Config) -> None:
    hasher = hasher_from_environment()
    if not config.train.remember_patients:
        warn(
            "train.remember_patients=false: cxr eval will not recognise patients of this training: no leak guard"
        )
    elif hasher.key_id:
        say(f"patients are kept as hashes with the key of CXR_PATIENT_KEY (id {hasher.key_id})")
        if hasher.is_weak:
            warn(f"{VARIABLE} is short enough to be guessed; {MAKE_KEY}")
