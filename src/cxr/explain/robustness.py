"""How easily a model is fooled: AUROC under attacks and corruptions, at five strengths each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from cxr.data.augment import resample
from cxr.data.loader import Rows
from cxr.errors import CxrError
from cxr.evaluation.changes import COLUMNS as CHANGE_COLUMNS
from cxr.evaluation.changes import UNCHANGED, compare_changes
from cxr.explain.attacks import ATTACKS, RADII, Attack, Attacker
from cxr.explain.corruptions import CORRUPTIONS, LEVELS, Corruption, corrupt
from cxr.explain.sample import Change, Sample, predict_changed, read_squares
from cxr.report.document import Thumbnail

KINDS: tuple[str, ...] = (*ATTACKS, *CORRUPTIONS)
COLUMNS = ("kind", "level", "strength", *CHANGE_COLUMNS[1:])
_SIDE = 128
"""Pixels of a picture of a corrupted image."""


@dataclass(frozen=True)
class Robustness:
    """What was found out.

    Attributes:
        table: COLUMNS: AUROC and its drop for each kind, level from 1 to 5 (0: unchanged) and finding.
        intervals: What was drawn for them.
        examples: By kind one image at each level.
        seed: Of all random numbers.
        notes: What a reader must know.
    """

    table: pd.DataFrame
    intervals: str
    examples: dict[str, tuple[Thumbnail, ...]]
    seed: int
    notes: tuple[str, ...]


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The kinds of these names, in the order of KINDS; all where none is named.

    Raises:
        CxrError: There is no such kind.
    """
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise CxrError([f"--kinds {name}: no such kind" for name in unknown], f"known are {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if not names or kind in names)


def strengths(kind: str) -> tuple[float, ...]:
    """The five strengths of a kind."""
    return RADII if kind in ATTACKS else CORRUPTIONS[kind].strengths


def measure_robustness(sample: Sample, kinds: Sequence[str], seed: int = 0) -> Robustness:
    """AUROC of a sample under each of the kinds."""
    size = sample.config.image.size
    classifier = sample.candidate.checkpoint.classifier
    attacker = Attacker(classifier, size, sample.predictions.y, sample.rows, seed)
    changes: dict[str, Change] = {}
    for kind in kinds:
        for level in range(1, LEVELS + 1):
            changes[f"{kind} {level}"] = _make_change(kind, level, size, attacker, seed)
    # one at a time: their probabilities are few numbers, their draws are many
    changed = predict_changed(sample, changes, "changed images")
    table = compare_changes(sample.predictions, changed, sample.resampling)
    # back from `pgd 3` to the kind and its level; the unchanged images are level 0
    named = table["change"].replace({UNCHANGED: f"{UNCHANGED} 0"}).str.rsplit(" ", n=1, expand=True)
    table = table.assign(kind=named[0], level=named[1].astype(int))
    table["strength"] = [
        strengths(kind)[level - 1] if level else None
        for kind, level in zip(table["kind"], table["level"], strict=True)
    ]
    return Robustness(
        table[list(COLUMNS)],
        sample.resampling.describe() if sample.resampling else "",
        {kind: tuple(_draw(sample, kind, changes)) for kind in kinds},
        seed,
        sample.notes,
    )


def _make_change(kind: str, level: int, size: int, attacker: Attacker, seed: int) -> Change:
    for attack in ATTACKS:
        if kind == attack:
            return partial(_attack, attacker=attacker, kind=attack, radius=RADII[level - 1])
    return partial(_corrupt, corruption=CORRUPTIONS[kind], level=level, size=size, seed=seed)


def _attack(images: Tensor, rows: Rows, attacker: Attacker, kind: Attack, radius: float) -> Tensor:
    return attacker.attack(images, rows, kind, radius)


def _corrupt(images: Tensor, rows: Rows, corruption: Corruption, level: int, size: int, seed: int) -> Tensor:
    """Images uint8 [B, size, size] of the model's input size, corrupted one by one."""
    # Corrupted at the model's input size, so that a strength in pixels means what it says.
    squares = resample(images, size)[:, 0].round().to(torch.uint8).cpu().numpy()
    corrupted = [
        corrupt(corruption, level, square, seed, int(row)) for square, row in zip(squares, rows, strict=True)
    ]
    return torch.from_numpy(np.stack(corrupted)).to(images.device)


def _draw(sample: Sample, kind: str, changes: dict[str, Change]) -> Iterable[Thumbnail]:
    """The first image of the sample at each level."""
    rows = sample.rows[:1]
    images = read_squares(sample, rows)
    for level, strength in enumerate(strengths(kind), 1):
        changed = changes[f"{kind} {level}"](images, rows)[0].float().round().to(torch.uint8).cpu().numpy()
        shown = cv2.resize(changed, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        jpeg = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        yield Thumbnail(jpeg, f"{level}: {strength:g}", "")
