"""The images of a run's dataset, and which of them the model has seen."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cxr.arrays import Bool
from cxr.config.schema import Config
from cxr.data.listing import ListedDataset, list_datasets
from cxr.data.problems import new_stages
from cxr.errors import CxrError
from cxr.explain.score import Image
from cxr.labels.table import NO_PATIENTS
from cxr.model.checkpoint import Checkpoint
from cxr.model.leak_check import unknown_training
from cxr.model.seen_hashes import hash_images, hash_patients, image_keys
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
        is_seen = np.isin(dataset.split.assigned[dataset.found], ("train", "val"))
        if not reason:
            is_seen = _find_seen(dataset, rows["image"].tolist(), rows["patient_id"].tolist(), checkpoint)
        for name, path, patient, seen in zip(
            rows["image"], rows["path"], rows["patient_id"], is_seen, strict=True
        ):
            images.append(Image(name, table.root / path, f"{dataset.name}/{patient or name}", bool(seen)))
    return images, notes


def _find_seen(
    dataset: ListedDataset, images: Sequence[str], patients: Sequence[str], checkpoint: Checkpoint
) -> Bool:
    """[N] whether an image's patient, or the image, was in the training or among the validation images."""
    hasher = find_hasher(checkpoint.metadata.patient_key)
    assert hasher is not None  # else the training is unknown
    seen_patients, seen_images = (
        {number for split in ("train", "val") if split in hashes for number in hashes[split].tolist()}
        for hashes in (checkpoint.patients, checkpoint.images)
    )
    spaces = dict.fromkeys((dataset.id_space, dataset.table.source))
    is_seen = {
        patient: any(int(hash_patients(space, [patient], hasher)[0]) in seen_patients for space in spaces)
        for patient in dict.fromkeys(patients)
    }
    # an image without sums of pixels is known by its name in public datasets alone
    keys = image_keys(list(images))
    by_name = [int(hash_images(dataset.table.source, [key], hasher)[0]) in seen_images for key in keys]
    return np.array(by_name, np.bool_) | np.array([is_seen[patient] for patient in patients], np.bool_)
