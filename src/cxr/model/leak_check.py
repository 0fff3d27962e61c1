"""The leak check: were patients or images of a dataset in the training of a model?"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from cxr.arrays import Bool
from cxr.config.schema import OneDataset
from cxr.data import combine as joint
from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.model.checkpoint import Checkpoint
from cxr.model.seen_hashes import find_images, find_patients, knows_pixels, pixel_sums
from cxr.patient_hash import find_hasher, hasher_from_environment

_NO_HASHES = torch.empty(0, dtype=torch.int64)


def check_seen(run: str, dataset: Dataset, checkpoint: Checkpoint, split: str, allowed: bool) -> list[str]:
    """Notes on patients of a split that the model has seen; unless allowed, evaluating on them is refused.

    Raises:
        CxrError: Patients, or images, that were in its training or its validation images.
    """
    notes = []
    reason = "" if split == "train" else unknown_training(checkpoint)
    if reason:
        unknown = "whether the model was trained on patients evaluated here is not known"
        notes.append(f"{run}: the leak check is off: {reason}; {unknown}")
    for part in dataset.datasets:
        for trained_split in ("train", "val"):
            # training images may be evaluated as such, and validation images as validation images
            if split in ("train", trained_split):
                continue
            seen = _describe_seen(part, part.rows(split), checkpoint, trained_split)
            if not seen:
                continue
            of = f" of {part.name}" if dataset.parts else ""
            leak = f"{seen}{of} to be evaluated were in the model's {trained_split} rows"
            if not allowed:
                hint = (
                    "use the split that it was trained with, or --allow-seen-patients, which marks the report"
                )
                raise CxrError(f"{run}: {leak}", hint)
            notes.append(f"NOT A FAIR TEST of {run}: {leak}, so every metric is too high")
    return notes


def is_other(dataset: Dataset, checkpoint: Checkpoint) -> bool:
    """Whether the model was trained on none of a dataset: another hospital's data, as far as can be known."""
    data, source = checkpoint.metadata.config.data, dataset.table.source
    rows = np.arange(len(dataset.table))
    if any(_describe_seen(dataset, rows, checkpoint, split) for split in ("train", "val")):
        return False
    return source in joint.OWN_IDS or source not in {part.source for part in (data, *data.also)}


def shares_validation_images(dataset: Dataset, checkpoint: Checkpoint) -> bool:
    """Whether a dataset may hold validation images that the checkpoint's thresholds were chosen on."""
    if unknown_training(checkpoint):
        return True
    return any(
        _describe_seen(part, np.arange(len(part.table)), checkpoint, "val") for part in dataset.datasets
    )


def unknown_training(checkpoint: Checkpoint) -> str:
    """Why it is unknown on which patients and images the model was trained; empty where it is known."""
    metadata = checkpoint.metadata
    if not len(checkpoint.patients.get("train", _NO_HASHES)):
        if metadata.is_shared:
            return "this is a copy for others (cxr card), from which the hashes of patients were left out"
        remembered = metadata.config.train.remember_patients
        reason = "" if remembered else " (train.remember_patients was false)"
        return f"the checkpoint holds no patients{reason}"
    if find_hasher(metadata.patient_key) is None:
        key_here = hasher_from_environment().key_id
        here = f"CXR_PATIENT_KEY is another key ({key_here})" if key_here else "CXR_PATIENT_KEY is not set"
        return f"the checkpoint's patients are hashed with a key ({metadata.patient_key}), and {here}"
    return ""


def find_seen(
    id_space: str, source: str, patients: Sequence[str], checkpoint: Checkpoint, split: str
) -> Bool:
    """[n] which patients of a dataset were in a split of the training.

    Args:
        id_space: Where their ids mean the same person. Ids of a user's table without a name are tried under
            the name of each table that was trained on.
        source: The dataset's.
        patients: Their ids.
        checkpoint: The model.
        split: train or val.
    """
    is_seen = np.zeros(len(patients), np.bool_)
    hasher = find_hasher(checkpoint.metadata.patient_key)
    if hasher is None:
        return is_seen
    # also under the source alone, as a table without a name has its ids hashed
    spaces = {id_space, source}
    if id_space in joint.OWN_IDS:
        data = checkpoint.metadata.config.data
        trained: tuple[OneDataset, ...] = (data, *data.also)
        spaces |= {joint.id_space(part.source, part.name) for part in trained if part.source in joint.OWN_IDS}
    known = checkpoint.patients.get(split, _NO_HASHES)
    for space in spaces:
        is_seen |= find_patients(known, space, patients, hasher)
    return is_seen


def _describe_seen(dataset: Dataset, rows: npt.NDArray[np.int64], checkpoint: Checkpoint, split: str) -> str:
    """How many patients, or else images, of some rows were in a split of the training; empty for none."""
    hasher = find_hasher(checkpoint.metadata.patient_key)
    if hasher is None:
        return ""
    table, known = dataset.table, checkpoint.images.get(split, _NO_HASHES)
    patients, images = (table.rows[name].iloc[rows] for name in ("patient_id", "image"))
    sums = pixel_sums(dataset, rows)
    # 1. by patients, unless the table names none and the checkpoint holds checksums of pixels: the ids are
    #    then file names, which two tables may share by chance
    names_no_patient = not table.names_patients and table.source in joint.OWN_IDS
    if not (names_no_patient and sums is not None and knows_pixels(known, hasher)):
        ids = list(patients.unique())
        num_seen = int(find_seen(dataset.id_space, table.source, ids, checkpoint, split).sum())
        if num_seen:
            return f"{num_seen:,} of the {len(ids):,} patients"
    # 2. by images
    num_seen = int(find_images(known, table.source, list(images), hasher, sums).sum())
    if not num_seen:
        return ""
    other_ids = ", under other patient ids," if table.names_patients else ""
    return f"{num_seen:,} of the {len(images):,} images{other_ids}"
