"""Scores of images -> a table per finding with intervals by patient."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cxr.arrays import Float64
from cxr.config.schema import Eval
from cxr.evaluation.statistics.bootstrap import Resampling, Unit, resample_units
from cxr.evaluation.statistics.intervals import NONE, Interval, effective_units, interval
from cxr.explain.localise import IOBB_THRESHOLDS, IOU_THRESHOLDS
from cxr.report.document import Section

PER_IMAGE = ("pointing", "hit", "miou", "mass")
"""Means over images, with intervals."""
PER_BOX = (*(f"iou_{t:g}" for t in IOU_THRESHOLDS), *(f"iobb_{t:g}" for t in IOBB_THRESHOLDS))
"""Shares of boxes."""
MAPS = ("model", "random", "prior", "chance", "frequent")
COLUMNS = ("finding", "map", "num_images", "num_patients", "num_boxes",
           *(name for score in PER_IMAGE for name in (score, f"{score}_low", f"{score}_high")),
           *PER_BOX, "false_boxes", "apart")  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """What was found out about a model's maps.

    Attributes:
        table: COLUMNS: a row per finding and map.
        each: A row per image, finding and map.
        intervals: What was drawn for them.
        notes: What a reader must know.
        examples: Pictures by finding; none where they are not wanted.
    """

    table: pd.DataFrame
    each: pd.DataFrame
    intervals: str
    notes: tuple[str, ...]
    examples: tuple[Section, ...] = ()


def summarise(each: pd.DataFrame, config: Eval) -> tuple[pd.DataFrame, str, list[str]]:
    """(a row per finding and map; what its intervals are; notes).

    `apart` says of the model's row whether its interval of the pointing game lies above those of random
    weights, prior and chance.

    Args:
        each: A row per image, finding and map.
        config: `interval`, `draws` and `draw_seed`.
    """
    rows: list[dict[str, object]] = []
    unit: Unit = "images" if config.interval == "images" else "patients"
    has_draws = config.interval != "none"
    for finding, part in each.groupby("finding", sort=False):
        # of one map: every map has a row for each image, in the same order, so that one resampling is for all
        names = part.loc[part["map"] == "model", "patient_id" if unit == "patients" else "image"]
        resampling = resample_units(names, unit, config.draws, config.draw_seed)
        of_finding = []
        for name in MAPS:
            scores = part[part["map"] == name]
            of_finding.append(_summarise(str(finding), name, scores, resampling if has_draws else None))
        lows, highs = ([row[f"pointing_{end}"] for row in of_finding] for end in ("low", "high"))
        # an interval that is not defined is apart from none: comparisons with nan are false
        of_finding[0]["apart"] = all(_number(lows[0]) > _number(high) for high in highs[1:4])
        rows += of_finding
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if not has_draws:
        return table, "none", []
    num_units = each["patient_id" if unit == "patients" else "image"].nunique()
    small = table[(table["map"] == "model") & (table["num_patients"] < 2)]
    notes = [f"no intervals for {', '.join(small['finding'])}: fewer than two patients"] if len(small) else []
    drawn = f"{num_units:,} {unit}, {config.draws:,} draws, seed {config.draw_seed}"
    return table, f"bootstrap by finding over {unit} ({drawn})", notes


def _number(value: object) -> float:
    assert isinstance(value, float)
    return value


def _summarise(
    finding: str, name: str, scores: pd.DataFrame, resampling: Resampling | None
) -> dict[str, object]:
    """A row of the table."""
    num_boxes = int(scores["num_boxes"].sum())
    row: dict[str, object] = {
        "finding": finding,
        "map": name,
        "num_images": len(scores),
        "num_patients": int(scores["patient_id"].nunique()),
        "num_boxes": num_boxes,
    }
    for score in PER_IMAGE:
        values = scores[score].to_numpy(np.float64)
        bounds = interval_of_mean(values, resampling) if resampling else NONE
        row |= {score: float(values.mean()), f"{score}_low": bounds.low, f"{score}_high": bounds.high}
    # of all boxes together, where the scores above are means over images
    row |= {score: float(scores[score].sum() / num_boxes) for score in PER_BOX}
    return row | {"false_boxes": float(scores["false_boxes"].mean()), "apart": None}


def interval_of_mean(values: Float64, resampling: Resampling) -> Interval:
    """The interval of a mean over images [N], drawn by patient; images of nan are left out."""
    known = ~np.isnan(values)
    of_row = resampling.of_row[known]
    # [U] sum and number of the images of each unit: a draw's mean is a quotient of two sums
    sums = np.bincount(of_row, values[known], resampling.num_units)
    sizes = np.bincount(of_row, minlength=resampling.num_units)
    with np.errstate(invalid="ignore"):  # a draw without such an image is undefined
        draws = np.concatenate([(sums @ counts) / (sizes @ counts) for counts in resampling.counts()])
    point = float(values[known].mean()) if known.any() else np.nan
    return interval(point, draws, effective_units(of_row))
