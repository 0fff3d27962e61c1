"""The archives that a model was trained on, those it judges, and what the one has to do with the other."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from cxr.config.load import override
from cxr.config.schema import Config, OneDataset
from cxr.data import combine as joint
from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.findings import find
from cxr.labels.table import NO_PATIENTS
from cxr.model import leakage as seen
from cxr.model.checkpoint import Checkpoint
from cxr.patient_hash import find_hasher, hasher_from_environment

_NOBODY = torch.empty(0, dtype=torch.int64)


def judged_config(trained: Config, findings: Sequence[str], overrides: Sequence[str]) -> Config:
    """A run's config with overrides laid over it, for the findings of its model.

    data.source and data.root together name one archive to judge: data.also is left out, and where the source is another
    than the run's, every other key of `data` begins at its default, since it was said of the run's own archive.

    Raises:
        CxrError: Every unknown key and wrong value.
    """
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    names = {"data": {"findings": list(findings)}}  # as values: YAML has no letters such as DEL
    if not {"data.source", "data.root"} <= given.keys():
        return override(trained, overrides, values=names)
    if given["data.source"] == trained.data.source:
        return override(trained, ["data.also=[]", *overrides], values=names)
    return override(trained, ["store.path=null", *overrides], anew=["data"], values=names)


def is_other(archive: Dataset, checkpoint: Checkpoint) -> bool:
    """Whether the model was trained on none of an archive: another hospital's data, as far as can be told."""
    data, source = checkpoint.metadata.config.data, archive.table.source
    rows = np.arange(len(archive.table))
    if any(_seen(archive, rows, checkpoint, fold) for fold in ("train", "val")):
        return False
    return source in joint.OWN_IDS or source not in {one.source for one in (data, *data.also)}


def count_seen(archive: Dataset, ids: Iterable[str], checkpoint: Checkpoint, fold: str) -> int:
    """How many of an archive's patients were in a fold of the training; a table without a name may be any table."""
    data, own = checkpoint.metadata.config.data, archive.id_space
    trained: tuple[OneDataset, ...] = (data, *data.also)
    spaces = {own, archive.table.source}
    if own in joint.OWN_IDS:
        spaces |= {joint.id_space(one.source, one.name) for one in trained if one.source in joint.OWN_IDS}
    names, known = list(ids), checkpoint.patients.get(fold, _NOBODY)
    hasher = find_hasher(checkpoint.metadata.patient_key)
    if hasher is None:
        return 0
    return min(len(names), sum(seen.count_patients(known, space, names, hasher) for space in spaces))


def guard_is_off(checkpoint: Checkpoint) -> str:
    """Why nobody can tell which patients and images the model was trained on; empty where that can be told."""
    metadata = checkpoint.metadata
    if not len(checkpoint.patients.get("train", _NOBODY)):
        remembered = metadata.config.train.remember_patients
        return "the checkpoint holds no patients" + (
            "" if remembered else " (train.remember_patients was false)"
        )
    if find_hasher(metadata.patient_key) is None:
        own = hasher_from_environment().key_id
        ours = f"CXR_PATIENT_KEY is another key ({own})" if own else "CXR_PATIENT_KEY is not set"
        return f"the checkpoint's patients are hashed with a key ({metadata.patient_key}), and {ours}"
    return ""


def _seen(archive: Dataset, rows: npt.NDArray[np.int64], checkpoint: Checkpoint, fold: str) -> str:
    """How many of the patients, or else of the images, of some rows were in a fold of the training; empty for none."""
    hasher = find_hasher(checkpoint.metadata.patient_key)
    if hasher is None:
        return ""
    patients, images = (archive.table.rows[name].iloc[rows] for name in ("patient_id", "image"))
    known, table, sums = checkpoint.images.get(fold, _NOBODY), archive.table, seen.pixel_sums(archive, rows)
    # where no patient is named each image is its own, and file names of two tables may be equal by chance
    by_pixels = not table.names_patients and table.source in joint.OWN_IDS and sums is not None
    by_pixels = by_pixels and seen.knows_pixels(known, hasher)
    num, of = 0 if by_pixels else count_seen(archive, patients.unique(), checkpoint, fold), patients.nunique()
    if num:
        return f"{num:,} of the {of:,} patients"
    num = seen.count_images(known, table.source, list(images), hasher, sums)
    under = ", under other patient ids," if table.names_patients else ""
    return f"{num:,} of the {len(images):,} images{under}" if num else ""


def shares_validation_rows(dataset: Dataset, checkpoint: Checkpoint) -> bool:
    """Whether a dataset may hold images of the validation rows that the checkpoint's thresholds were chosen on."""
    every = ((archive, np.arange(len(archive.table))) for archive in dataset.archives)
    return bool(guard_is_off(checkpoint)) or any(
        _seen(archive, rows, checkpoint, "val") for archive, rows in every
    )


def check_seen(run: str, dataset: Dataset, checkpoint: Checkpoint, fold: str, allowed: bool) -> list[str]:
    """Notes on patients of a fold that the model has seen; judging them is refused unless it is allowed.

    Raises:
        CxrError: Patients, or images, that were in its training or its validation rows.
    """
    why = "" if fold == "train" else guard_is_off(checkpoint)
    what = "whether the model was trained on patients evaluated here is not known"
    notes = [f"{run}: the leak guard is off: {why}; {what}"] if why else []
    for archive in dataset.archives:
        for before in ("train", "val"):
            whom = "" if fold in ("train", before) else _seen(archive, archive.rows(fold), checkpoint, before)
            if not whom:
                continue
            of = f" of {archive.name}" if dataset.parts else ""
            what = f"{whom}{of} to be judged were in the model's {before} rows"
            if not allowed:
                hint = "take the split it was trained with, or --allow-seen-patients, which marks the report"
                raise CxrError(f"{run}: {what}", hint)
            notes.append(f"NOT A FAIR TEST of {run}: {what}, so every figure flatters it")
    return notes


def describe(dataset: Dataset, config: Config) -> list[tuple[str, str]]:
    """What a report says of the archives judged: where they lie, their splits, their policies, their findings."""
    data = (config.data, *config.data.also)
    named = [f"{archive.name}: " if archive.name else "" for archive in dataset.archives]
    policies = [f"uncertain cells: {one.uncertain}; blank cells: {one.blank}" for one in data]
    said = [
        ("data", [f"{one.source}, {one.root}" for one in data]),
        ("split", [archive.split.name for archive in dataset.archives]),
        ("labels", policies),
    ]
    pairs = [
        (key, "; ".join(f"{name}{text}" for name, text in zip(named, texts, strict=True)))
        for key, texts in said
    ]
    aligned = [f"{name}{_alignment(archive)}" for name, archive in zip(named, dataset.archives, strict=True)
               if _alignment(archive)]  # fmt: skip
    return pairs + ([("findings", "; ".join(aligned))] if aligned else [])


def _alignment(archive: Dataset) -> str:
    own = {name: find(name, archive.table.findings) for name in archive.targets.findings}
    renamed = [f"{name} is its {theirs}" for name, theirs in own.items() if theirs not in (name, None)]
    lacking = [name for name, theirs in own.items() if theirs is None]
    return ", ".join([*renamed, *([f"not labelled: {', '.join(lacking)}"] if lacking else [])])


def note_patients(dataset: Dataset) -> list[str]:
    """A note on each dataset that names no patient."""
    nameless = [archive for archive in dataset.archives if not archive.table.names_patients]
    return [f"{archive.name}: {NO_PATIENTS}" if dataset.parts else NO_PATIENTS for archive in nameless]


def note_others(dataset: Dataset, checkpoint: Checkpoint) -> list[str]:
    """A note where an archive is another than those of the training."""
    data = checkpoint.metadata.config.data
    others = [archive for archive in dataset.archives if is_other(archive, checkpoint)]
    if not others:
        return []
    judged = ", ".join(archive.name or archive.table.source for archive in others)
    trained = ", ".join(joint.names(data))
    if guard_is_off(checkpoint):
        patients = "whose patients may be the same"
    else:
        patients = "other patients, as far as their ids and the names of their images tell"
    return [
        f"{judged} is another archive than the model was trained on ({trained}): {patients}, under their own labels"
    ]
