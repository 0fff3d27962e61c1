"""The plan of a training on examined datasets: images, steps, stores, and the share of each dataset."""

from collections.abc import Sequence

import numpy as np

from cxr.check.examine import ExaminedDataset, join_dropped
from cxr.check.problems import check_training
from cxr.check.result import Plan, Share
from cxr.config.schema import Config
from cxr.data.problems import Problems
from cxr.data.sampling import num_visits
from cxr.findings import find
from cxr.labels.splits import SPLITS
from cxr.labels.targets import Targets


def make_plan(
    config: Config,
    datasets: Sequence[ExaminedDataset],
    targets: Sequence[Targets],
    findings: Sequence[str],
    problems: Problems | None = None,
) -> Plan:
    """The plan: images, patients, findings, steps and stores of a training.

    Args:
        config: The recipe.
        datasets: All of its datasets, or one of several.
        targets: Targets of their rows; without findings where they are not known.
        findings: The targets' names.
        problems: Collects the refusals of training; None for one dataset of several, not trained on alone.
    """
    # sums over datasets are right for images, which are in one dataset each
    shares = _share(datasets, targets)
    images = {split: sum(share.images[split] for share in shares) for split in SPLITS}
    # of each dataset, by its data.weight
    visits = [share.visits for share in shares]
    steps = None
    if problems and all(dataset.listed.has_split for dataset in datasets):
        steps = check_training(
            config, images, visits, _join_validation(datasets, targets, findings), problems
        )
    # a patient of two datasets that share their ids is counted once
    patients = np.concatenate([dataset.patients.iloc[dataset.rows] for dataset in datasets])
    splits = np.concatenate([dataset.splits for dataset in datasets])
    return Plan(
        images=images,
        patients={split: len(set(patients[splits == split])) for split in SPLITS},
        findings=tuple(findings),
        dropped={reason: num for reason, num in join_dropped(datasets).items() if num},
        batch_size=config.train.batch_size,
        epochs=config.train.epochs,
        visits=sum(visits),
        steps_per_epoch=steps,
        store=", ".join(share.store for share in shares),
        store_bytes=sum(share.store_bytes for share in shares),
        where=config.store.where,
        datasets=tuple(shares) if len(datasets) > 1 else (),
    )


def _join_validation(
    datasets: Sequence[ExaminedDataset], targets: Sequence[Targets], findings: Sequence[str]
) -> Targets | None:
    """Targets of all validation rows, None where those of a dataset are not known."""
    if not findings or any(part.findings != tuple(findings) for part in targets):
        return None
    rows = np.concatenate([dataset.splits for dataset in datasets]) == "val"
    y = np.concatenate([part.y for part in targets])
    mask = np.concatenate([part.mask for part in targets])
    return Targets(tuple(findings), y[rows], mask[rows])


def _share(datasets: Sequence[ExaminedDataset], targets: Sequence[Targets]) -> list[Share]:
    """The share of each dataset in the training."""
    weights = [dataset.listed.config.data.weight for dataset in datasets]
    visits = [
        num_visits(int((dataset.splits == "train").sum()), weight)
        for dataset, weight in zip(datasets, weights, strict=True)
    ]
    total = sum(visits)
    shares = []
    for dataset, known, drawn, weight in zip(datasets, targets, visits, weights, strict=True):
        listed, splits = dataset.listed, dataset.splits
        patients = dataset.kept.rows["patient_id"]
        shares.append(
            Share(
                name=listed.name,
                images={split: int((splits == split).sum()) for split in SPLITS},
                patients={split: int(patients[splits == split].nunique()) for split in SPLITS},
                findings=tuple(name for name in known.findings if find(name, listed.table.findings)),
                weight=weight,
                visits=drawn,
                share=drawn / total if total else 0.0,
                store=str(listed.store_path),
                store_bytes=len(listed.found) * listed.config.image.store_size**2,
            )
        )
    return shares
