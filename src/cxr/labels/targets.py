"""Labels become targets and a mask, under the policies for uncertain and blank cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.errors import CxrError
from cxr.findings import find_spelling
from cxr.labels.table import Float, LabelTable

Bool = npt.NDArray[np.bool_]
Uncertain = Literal["ignore", "zeros", "ones"] | tuple[float, float]
Blank = Literal["negative", "masked"]


@dataclass(frozen=True)
class Targets:
    """What the loss sees: y in [0, 1] and the mask of cells that count, both [N, C]."""

    findings: tuple[str, ...]
    y: Float
    mask: Bool


def resolve(
    table: LabelTable,
    findings: Sequence[str],
    uncertain: Uncertain | Mapping[str, Uncertain] = "ignore",
    blank: Blank = "negative",
    seed: int = 0,
) -> Targets:
    """Targets [N, C] of the named findings under a policy for uncertain (-1) and blank (nan) cells.

    `ignore`, `zeros` and `ones` are U-Ignore, U-Zeros and U-Ones of Irvin et al. 2019; a range (low, high)
    draws each uncertain cell's target uniformly from it, once, from the seed (label smoothing, Pham et al.
    2021). A mapping gives the policy of each finding, under `default` that of all others (`ignore` where it
    has none).

    Raises:
        CxrError: A finding that the source does not label.
    """
    columns = _find_columns(table, findings)
    raw = table.raw[:, columns]  # [N, C]
    # 1, or a soft label as it is; uncertain and blank cells are 0 so far
    y = np.where(raw > 0, raw, np.float32(0))
    mask = np.ones(raw.shape, dtype=np.bool_)
    # Drawn for every finding of the table: a finding's targets do not depend on which others are asked for
    draws = np.random.default_rng(seed).random(table.raw.shape, dtype=np.float32)[:, columns]
    for column, finding in enumerate(findings):
        is_uncertain = raw[:, column] == -1
        if isinstance(uncertain, Mapping):
            policy = uncertain.get(finding, uncertain.get("default", "ignore"))
        else:
            policy = uncertain
        if policy == "ignore":
            mask[is_uncertain, column] = False
        elif policy == "ones":
            y[is_uncertain, column] = 1
        elif policy != "zeros":
            low, high = policy
            y[is_uncertain, column] = low + (high - low) * draws[is_uncertain, column]
    # a blank cell is 0 already, which is what `negative` asks for
    if blank == "masked":
        mask &= ~np.isnan(raw)
    y[~mask] = 0
    return Targets(tuple(findings), y, mask)


def _find_columns(table: LabelTable, findings: Sequence[str]) -> list[int]:
    """The column of `table.raw` of each finding."""
    # under the table's own spelling: case, blanks and hyphens make no difference
    spellings = [find_spelling(finding, table.findings) for finding in findings]
    unknown = [finding for finding, name in zip(findings, spellings, strict=True) if name is None]
    if unknown:
        raise CxrError(
            [f"data.findings: {table.root} has no labels for {finding!r}" for finding in unknown],
            f"it labels {', '.join(table.findings)}",
        )
    return [table.findings.index(name) for name in spellings if name is not None]


def count_targets(targets: Targets) -> pd.DataFrame:
    """Per finding the number of positive, negative, soft (between 0 and 1) and masked cells."""
    y, mask = targets.y, targets.mask
    return pd.DataFrame(
        {
            "finding": targets.findings,
            "positive": ((y == 1) & mask).sum(axis=0),
            "negative": ((y == 0) & mask).sum(axis=0),
            "soft": ((y > 0) & (y < 1) & mask).sum(axis=0),
            "masked": (~mask).sum(axis=0),
        }
    )
