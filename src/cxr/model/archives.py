"""The archives that a model was trained on, those it judges, and what the one has to do with the other."""

from collections.abc import Sequence

from cxr.config import Config, Data
from cxr.config_file import override
from cxr.data import joint
from cxr.data.dataset import Dataset
from cxr.data.findings import find
from cxr.errors import CxrError
from cxr.model.checkpoint import Checkpoint, seen_patients

_OWN_IDS = "table"
"""The source whose patients' ids mean something in their own CSV only, so that data.name can tell two of them apart."""


def judged_config(trained: Config, findings: Sequence[str], overrides: Sequence[str]) -> Config:
    """A run's config with overrides laid over it, for the findings of its model.

    data.source and data.root together name one archive to judge: data.also is left out, and where the source is another
    than the run's, every other key of `data` begins at its default, since it was said of the run's own archive.

    Raises:
        CxrError: Every unknown key and wrong value.
    """
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    texts = ["data.findings=[" + ",".join(f'"{finding}"' for finding in findings) + "]"]
    if not {"data.source", "data.root"} <= given.keys():
        return override(trained, [*texts, *overrides])
    if given["data.source"] == trained.data.source:
        return override(trained, [*texts, "data.also=[]", *overrides])
    return override(trained, [*texts, "store.path=null", *overrides], anew=["data"])


def is_other(archive: Dataset, checkpoint: Checkpoint) -> bool:
    """Whether the model was trained on none of an archive: another hospital's data, as far as can be told."""
    data, source = checkpoint.metadata.config.data, archive.table.source
    if is_declared_other(archive, data):
        return True
    ids = archive.table.rows["patient_id"].unique()
    if any(seen_patients(checkpoint, source, ids, fold) for fold in ("train", "val")):
        return False
    return source == _OWN_IDS or source not in {one.source for one in (data, *data.also)}


def is_declared_other(archive: Dataset, trained: Data) -> bool:
    """Whether an archive and all tables of the training have names of their own, so that equal ids are other people."""
    own = joint.names(trained) if trained.also else [trained.name]
    tables = [name for one, name in zip((trained, *trained.also), own, strict=True) if one.source == _OWN_IDS]
    return archive.table.source == _OWN_IDS and bool(archive.name) and all(tables) and archive.name not in tables


def check_seen(run: str, dataset: Dataset, checkpoint: Checkpoint, fold: str, allowed: bool) -> list[str]:
    """Notes on patients of a fold that the model has seen; judging them is refused unless it is allowed.

    Raises:
        CxrError: Patients who were in its training or its validation rows.
    """
    notes = []
    for archive in dataset.archives:
        ids = archive.table.rows["patient_id"].iloc[archive.rows(fold)].unique()
        of = f" of {archive.name}" if archive.name else ""
        for seen in ("train", "val"):
            num = seen_patients(checkpoint, archive.table.source, ids, seen)
            if not num or fold in ("train", seen):
                continue
            if is_declared_other(archive, checkpoint.metadata.config.data):
                notes.append(f"{num:,} of the {len(ids):,} patients{of} have an id of the model's {seen} rows, and are "
                             "taken for other people, since data.name says that the table is another")  # fmt: skip
                continue
            what = f"{num:,} of the {len(ids):,} patients to be judged were in the model's {seen} rows"
            if not allowed:
                raise CxrError(f"{run}: {what}", "judge it with the split it was trained with")
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
    pairs = [(key, "; ".join(f"{name}{text}" for name, text in zip(named, texts, strict=True))) for key, texts in said]
    aligned = [f"{name}{_alignment(archive)}" for name, archive in zip(named, dataset.archives, strict=True)
               if _alignment(archive)]  # fmt: skip
    return pairs + ([("findings", "; ".join(aligned))] if aligned else [])


def _alignment(archive: Dataset) -> str:
    own = {name: find(name, archive.table.findings) for name in archive.targets.findings}
    renamed = [f"{name} is its {theirs}" for name, theirs in own.items() if theirs not in (name, None)]
    lacking = [name for name, theirs in own.items() if theirs is None]
    return ", ".join([*renamed, *([f"not labelled: {', '.join(lacking)}"] if lacking else [])])


def note_others(dataset: Dataset, checkpoint: Checkpoint) -> list[str]:
    """A note where an archive is another than those of the training."""
    data = checkpoint.metadata.config.data
    others = [archive for archive in dataset.archives if is_other(archive, checkpoint)]
    if not others:
        return []
    judged = ", ".join(archive.name or archive.table.source for archive in others)
    trained = ", ".join(joint.names(data))
    return [f"{judged} is another archive than the model was trained on ({trained}): these are new patients of another "
            "hospital, under its labels"]  # fmt: skip
