"""How often two equally good models are found different at 5 %, by test and by number of positive images.

`python -m benchmarks.type_one` prints the two tables of docs/statistics.md in about ten minutes.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from benchmarks.coverage import draw_clustered
from benchmarks.coverage_wide import IMAGES, MOST_IMAGES
from cxr.config.schema import Eval
from cxr.evaluation.compare import Compared, compare
from cxr.evaluation.differences import METRICS
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics import delong
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import fixed

NUM_SETS = 1000
ALPHA = 0.05
AUROCS, PREVALENCES, PATIENTS = (0.75, 0.90), (0.05, 0.2), (200, 1000)
BETWEEN = 0.5
"""Share of the variance of each score that both models have in common."""
FEW_POSITIVES, FEW_PATIENTS, FEW_AUROC = (1, 2, 3, 5, 10, 20), 500, 0.75
FEW_SETS, FEW_FINDINGS, FEW_DRAWS = 300, 14, 200
"""Test sets, findings of each, which are 4,200 in all, and draws."""


@dataclass(frozen=True)
class Rejected:
    """Share of sets in which a test at 5 % tells the models apart, by test, and of how many sets."""

    by_patient: float
    by_image: float
    num_sets: int


def draw_pair(
    draws: np.random.Generator, auroc: float, prevalence: float, num_patients: int, images: str
) -> tuple[Float, Float, npt.NDArray[np.intp]]:
    """(label [N], scores of two models [N, 2] of the same true AUROC, patient [N])."""
    num_images = IMAGES[images](draws, num_patients).clip(1, MOST_IMAGES).astype(np.intp)
    patient = np.repeat(np.arange(num_patients), num_images)

    y = (draw_clustered(draws, patient) < norm.ppf(prevalence)).astype(np.float64)
    common, shift = draw_clustered(draws, patient), np.sqrt(2) * norm.ppf(auroc) * y
    scores = [
        np.sqrt(BETWEEN) * common + np.sqrt(1 - BETWEEN) * draw_clustered(draws, patient) + shift
        for _ in range(2)
    ]
    return y, np.stack(scores, axis=1), patient


def type_one(
    auroc: float, prevalence: float, num_patients: int, images: str, num_sets: int = NUM_SETS
) -> Rejected:
    """Shares over simulated sets; one without two patients of a class does not count."""
    draws = np.random.default_rng(0)
    p_values = []
    for _ in range(num_sets):
        y, scores, patient = draw_pair(draws, auroc, prevalence, num_patients, images)
        parts = delong.clustered(y, scores, patient, num_patients)
        by_patient = delong.compare_clustered([parts])[0].p
        if not np.isnan(by_patient):
            p_values.append((by_patient, delong.compare(y, scores[:, 0], scores[:, 1])))
    shares = (np.array(p_values) < ALPHA).mean(axis=0)
    return Rejected(float(shares[0]), float(shares[1]), len(p_values))


def few_positives(
    num_positive: int, auroc: float = FEW_AUROC, num_sets: int = FEW_SETS, num_draws: int = FEW_DRAWS
) -> dict[str, Float]:
    """By column of `cxr compare`, its two-sided p-values [sets], nan where there is none.

    Findings of 500 patients with one image each, so many of them positive, and two models of the same true
    AUROC. `mean` is that of the mean AUROC of 14 findings. `interval` is 0 where the interval of AUROC leaves
    0 out, else 1.
    """
    draws = np.random.default_rng(num_positive)
    found: dict[str, list[Float]] = {}
    for _ in range(num_sets):
        y = np.zeros((FEW_PATIENTS, FEW_FINDINGS))
        for column in range(FEW_FINDINGS):
            y[draws.choice(FEW_PATIENTS, num_positive, replace=False), column] = 1
        common, shift = draws.normal(size=y.shape), np.sqrt(2) * norm.ppf(auroc)
        models = []
        for name in ("a", "b"):
            noise = draws.normal(size=y.shape)
            scores = np.sqrt(BETWEEN) * common + np.sqrt(1 - BETWEEN) * noise + shift * y
            # a threshold of 0.5 calls the negative image at the 95th percentile
            models.append(_model(name, y, expit(scores - norm.ppf(0.95))))
        table = compare(models[0], models[1], Eval(draws=num_draws)).table
        findings, mean = table[:-1], table.iloc[-1:]
        columns = {name: findings[f"{name}_p"] for name in METRICS}
        columns["interval"] = _of_interval(findings)
        columns |= {"mean": mean["auroc_p"], "mean interval": _of_interval(mean)}
        for name, values in columns.items():
            found.setdefault(name, []).append(values.to_numpy(np.float64))
    return {name: np.concatenate(values) for name, values in found.items()}


def _model(name: str, y: Float, p: Float) -> Compared:
    images = [f"{row:03d}" for row in range(len(y))]
    rows = pd.DataFrame({"image": images, "patient_id": images, "split": "", "view": "", "sex": ""})
    predictions = Predictions(rows.assign(age=np.nan), tuple(f"F{c}" for c in range(y.shape[1])), y, p)
    return Compared(name, predictions, fixed(predictions.findings, 0.5))


def _of_interval(table: pd.DataFrame) -> pd.Series:
    leaves_out = (table["auroc_low"] > 0) | (table["auroc_high"] < 0)
    return (~leaves_out).astype(np.float64).where(table["auroc_low"].notna())


def print_few() -> None:
    """Print the table of few positive images."""
    names = ("auroc", "interval", "average_precision", "f1", "brier", "sensitivity_at_90", "mean",
             "mean interval")  # fmt: skip
    print(f"| positive images | {' | '.join(names)} |")
    print("| ---: |" + " ---: |" * len(names))
    for num_positive in FEW_POSITIVES:
        p_values = few_positives(num_positive)
        cells = [_share(p_values[name]) for name in names]
        print(f"| {num_positive} | {' | '.join(cells)} |", flush=True)


def _share(p_values: Float) -> str:
    """Share of sets with a p-value in which it is below 5 %; none where half of the sets have none."""
    known = p_values[~np.isnan(p_values)]
    return f"{(known < ALPHA).mean():.1%}" if len(known) > len(p_values) / 2 else "none"


def main() -> None:
    """Print the tables."""
    print("| images per patient | patients | prevalence | AUROC | by patient | by image |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for images, num_patients, prevalence, auroc in product(IMAGES, PATIENTS, PREVALENCES, AUROCS):
        found = type_one(auroc, prevalence, num_patients, images)
        print(
            f"| {images} | {num_patients:,} | {prevalence:.0%} | {auroc:.2f} "
            f"| {found.by_patient:.1%} | {found.by_image:.1%} |",
            flush=True,
        )
    print()
    print_few()


if __name__ == "__main__":
    main()
