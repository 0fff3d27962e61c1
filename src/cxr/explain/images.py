"""The images of a run's dataset, and which of them the model has seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxr.arrays import Bool
from cxr.config.schema import Config
from cxr.data.combine import align
from cxr.data.listing import ListedDataset, list_datasets
from cxr.data.problems import new_stages
from cxr.errors import CxrError
from cxr.explain.cases import Image
from cxr.labels.table import NO_PATIENTS
from cxr.model.checkpoint import Checkpoint
from cxr.model.leak_check import find_seen, unknown_training
from cxr.model.seen_hashes import find_images
from cxr.patient_hash import find_hasher

_BOX_FILES = ("BBox_List_2017.csv", "boxes.csv")


def find_boxes(config: Config) -> Path:
    """The file of boxes in the dataset's folder.

    Raises:
        CxrError: There is none.
    """
    for name in _BOX_FILES:
        if (config.data.root / name).is_file():
            return config.data.root / name
    raise CxrError(f"{config.data.root}: no {_BOX_FILES[0]} in it", "name a file of boxes with --boxes FILE")


def list_images(config: Config, checkpoint: Checkpoint) -> tuple[list[Image], list[str]]:
    """(every image of the config's datasets that has a file, notes).

    An image counts as seen where its patient, or itself, is among the hashes of the training and validation
    images in the checkpoint; where the checkpoint does not know, where this split has it in train or val.

    Raises:
        CxrError: The tables cannot be read, or the dataset is not made of files.
    """
    listed = list_datasets(config, new_stages(1 + len(config.data.also)), partly=True)
    images: list[Image] = []
    notes: list[str] = []
    reason = unknown_training(checkpoint)
    if reason:
        notes.append(
            f"images that the model may have seen are those of train and val in this split: {reason}"
        )
    for dataset in listed.datasets:
        table = dataset.table
        if table.read_pixels is not None:
            problem = f"{dataset.key}: images of the source {table.source} are no files"
            raise CxrError(problem, "name the folder of the images with data.source and data.root")
        if not table.names_patients:
            notes.append(NO_PATIENTS)
        rows = table.rows.iloc[dataset.found]
        # by this split, for a checkpoint that does not say whom it has seen
        is_seen = np.isin(dataset.split.assigned[dataset.found], ("train", "val"))
        if not reason:
            is_seen = _find_seen(dataset, rows["image"].tolist(), rows["patient_id"].tolist(), checkpoint)
        labels = align(table, checkpoint.metadata.findings).raw[dataset.found].tolist()
        for name, path, patient, seen, known in zip(
            rows["image"], rows["path"], rows["patient_id"], is_seen, labels, strict=True
        ):
            # two datasets may have a patient 1; an image without a patient is a patient
            person = f"{dataset.name}/{patient or name}"
            images.append(Image(name, table.root / path, person, bool(seen), tuple(known)))
    return images, notes


def _find_seen(
    dataset: ListedDataset, images: Sequence[str], patients: Sequence[str], checkpoint: Checkpoint
) -> Bool:
    """[N] whether an image's patient, or the image, was in the training or among the validation images."""
    hasher = find_hasher(checkpoint.metadata.patient_key)
    assert hasher is not None  # else the training is unknown
    source, ids = dataset.table.source, list(dict.fromkeys(patients))
    is_seen_id = np.zeros(len(ids), np.bool_)
    is_seen = np.zeros(len(images), np.bool_)
    for split in ("train", "val"):
        is_seen_id |= find_seen(dataset.id_space, source, ids, checkpoint, split)
        # nothing is packed here, so that images of a user's table have no sums of pixels to be known by
        if split in checkpoint.images:
            is_seen |= find_images(checkpoint.images[split], source, images, hasher)
    by_id = dict(zip(ids, is_seen_id, strict=True))
    return is_seen | np.array([by_id[patient] for patient in patients], np.bool_)
