"""All of a training that no step changes, and what is refused before any time is spent on it."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from cxr.config.schema import Config
from cxr.console import say, warn
from cxr.data.dataset import Dataset, Listed
from cxr.data.loader import Loader
from cxr.data.malloc import keep_freed_memory
from cxr.data.placement import open_loader
from cxr.data.sampling import check_selection_metric, count_steps
from cxr.distributed import World
from cxr.labels.split_lists import hash_names
from cxr.labels.splits import SPLITS
from cxr.model import checkpoint as checkpoints
from cxr.model.predict import autocast_dtype
from cxr.model.seen_hashes import images_of, patients_of
from cxr.patient_hash import MAKE_KEY, VARIABLE, hasher_from_environment
from cxr.training.graphed import can_replay
from cxr.training.loss import ClassWeights, class_weights
from cxr.training.memory import bytes_for_steps
from cxr.training.resume import check_resumable
from cxr.training.trackers import choose as choose_trackers


@dataclass(frozen=True)
class TrainSetup:
    """All of a training that no step changes.

    Attributes:
        config: The recipe.
        world: The processes.
        dataset: Rows and targets.
        loader: Batches of them.
        weights: Class weights, on the device.
        dtype: Arithmetic of the forward pass; None is float32.
        steps_per_epoch: Optimizer steps of an epoch.
    """

    config: Config
    world: World
    dataset: Dataset
    loader: Loader
    weights: ClassWeights
    dtype: torch.dtype | None
    steps_per_epoch: int

    @cached_property
    def identity(self) -> dict[str, str]:
        """Hashes of the data, see `identify`."""
        return identify(self.dataset)

    @cached_property
    def hashes(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(hashes of patients, of images) by split, of train and val, for the leak check of `cxr eval`."""
        splits = ("train", "val") if self.config.train.remember_patients else ()
        hasher = hasher_from_environment()
        # what a checkpoint must not hold is not even computed
        patients = {split: patients_of(self.dataset, split, hasher) for split in splits}
        images = {split: images_of(self.dataset, split, hasher) for split in splits}
        return patients, images


def identify(dataset: Dataset) -> dict[str, str]:
    """Hashes of the data of a run: the image names of each split, the labels, the pixels.

    Pixels are known by the checksums of the train and val rows. Stores of format 1 have none: no hash of
    pixels then.
    """
    names = dataset.table.rows["image"]
    found = {split: hash_names(names.iloc[dataset.rows(split)]) for split in SPLITS}
    targets = dataset.targets
    # the bytes of both arrays: another policy for uncertain labels is another training
    found["labels"] = hashlib.sha256(targets.y.tobytes() + targets.mask.tobytes()).hexdigest()

    pixels = hashlib.sha256()
    for part in dataset.datasets:
        if part.store.crc32 is None:
            return found
        # test images may change: no step and no choice of an epoch sees them
        is_used = np.isin(part.assigned, ("train", "val"))
        pixels.update(part.store.crc32[part.index[is_used]].tobytes())
    found["pixels"] = pixels.hexdigest()
    return found


def check_before_packing(config: Config, listed: Listed, world: World, resume: bool) -> None:
    """Refuse what cannot be trained, or resumed, before a weight is downloaded or a file is packed.

    Raises:
        CxrError: No training or validation images, none with both classes, a last batch too small, a tracker
            that is not installed; under `resume`, a damaged last.pt, or one of another recipe, other images
            or other labels.
    """
    choose_trackers(config)
    can_replay(config, world)
    hasher_from_environment()  # refuses a key of patient hashes that cannot be used
    planned = listed.plan()
    num_images = {split: len(planned.rows(split)) for split in SPLITS}
    # Rows may yet turn out unreadable, and the steps be fewer: then only what is certain is refused now.
    steps_per_epoch = None
    if listed.is_certain or not (num_images["train"] and num_images["val"]):
        steps_per_epoch = count_steps(config, num_images, planned.visits(), world.size)
    check_selection_metric(config, planned.select(planned.rows("val")))
    if resume:
        identity = identify(planned) if listed.is_certain else {}
        saved = checkpoints.load_resumable(config.out / checkpoints.LAST)
        check_resumable(config, identity, saved, steps_per_epoch)


def prepare(config: Config, dataset: Dataset, world: World) -> TrainSetup:
    """The run of a config: checked, with the pixels where store.where wants them.

    Raises:
        CxrError: No training or validation images, none with both classes; a last batch that is too small.
    """
    # 1. What cannot be trained is refused before pixels are copied.
    choose_trackers(config)
    can_replay(config, world)  # refuses cuda_graphs=true without a GPU
    num_images = {split: len(dataset.rows(split)) for split in SPLITS}
    steps_per_epoch = count_steps(config, num_images, dataset.visits(), world.size)
    check_selection_metric(config, dataset.select(dataset.rows("val")))

    # 2. Pixels of train and val rows alone, where they leave a GPU the memory that steps need.
    keep_freed_memory(world.device)
    dtype = autocast_dtype(config.train.precision, world.device)
    rows = np.concatenate([dataset.rows("train"), dataset.rows("val")])
    num_bytes_needed = bytes_for_steps(config, world.size, dtype)
    loader, where = open_loader(
        dataset, rows, config.store.where, world.device, world.local_size, num_bytes_needed
    )

    # 3. Class weights of the rows as an epoch visits them: data.weight counts.
    weights = class_weights(
        dataset.select(dataset.rows("train")),
        config.loss.weighting,
        config.loss.pos_weight_cap,
        np.concatenate([np.full(len(group), weight) for group, weight in dataset.groups()]),
    )
    if world.is_first:
        processes = f" in each of {world.size} processes" if world.size > 1 else ""
        arithmetic = str(dtype or torch.float32).removeprefix("torch.")
        say(f"device {world.device}{processes}, {arithmetic}, {where}")
        _report_patient_hashes(config.train.remember_patients)
        if weights.one_class:
            names = ", ".join(weights.one_class)
            warn(f"training rows hold one class only for {names}: weights of 1, nothing to learn")
    return TrainSetup(config, world, dataset, loader, weights.to(world.device), dtype, steps_per_epoch)


def _report_patient_hashes(remember_patients: bool) -> None:
    """Print how the checkpoint will recognise patients, where it is not the default."""
    hasher = hasher_from_environment()
    if not remember_patients:
        consequence = "cxr eval will not recognise patients of this training: no leak check"
        warn(f"train.remember_patients=false: {consequence}")
    elif hasher.key_id:
        say(f"patients are kept as hashes with the key of CXR_PATIENT_KEY (id {hasher.key_id})")
        if hasher.is_weak:
            warn(f"{VARIABLE} is short enough to be guessed; {MAKE_KEY}")
