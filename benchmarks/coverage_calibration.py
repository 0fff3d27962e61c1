"""How often the 95 % intervals of the metrics of calibration hold the truth: simulated test sets.

`python -m benchmarks.coverage_calibration` prints the table of docs/statistics.md.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm

from benchmarks.coverage import draw_set
from cxr.evaluation.statistics.bootstrap import resample_units
from cxr.evaluation.statistics.calibration import Calibration, measure
from cxr.evaluation.statistics.intervals import calibration_interval, count_units
from cxr.evaluation.statistics.metrics import Float

NUM_SETS, NUM_DRAWS, NUM_OF_TRUTH = 1000, 500, 2_000_000
AUROCS, PREVALENCES, NUMS_OF_PATIENTS = (0.70, 0.90), (0.01, 0.05, 0.20), (200, 600)
LINE = (-0.3, 0.8)
"""The true intercept and slope of the model's logits."""


def probabilities(score: Float, auroc: float, prevalence: float) -> Float:
    """Of a model whose logits x are wrong: those of the labels are LINE[0] + LINE[1] x.

    For binormal scores of distance d they are d score - d^2 / 2 + logit(prevalence).
    """
    distance = np.sqrt(2) * norm.ppf(auroc)
    right = distance * score - distance**2 / 2 + logit(prevalence)
    p: Float = expit((right - LINE[0]) / LINE[1])
    return p


def find_truth(auroc: float, prevalence: float, num: int = NUM_OF_TRUTH) -> Calibration:
    """The metrics of very many images of as many patients."""
    draws = np.random.default_rng(1)
    y = (draws.random(num) < prevalence).astype(np.float64)
    score = draws.normal(size=num) + np.sqrt(2) * norm.ppf(auroc) * y
    (truth,), _ = measure(y[:, None], probabilities(score, auroc, prevalence)[:, None], None)
    return truth


def cover(truth: Calibration, auroc: float, prevalence: float, num_patients: int, num_sets: int) -> Float:
    """Share of the sets with an interval in which it holds the truth, for each metric; nan where half have none."""
    draws = np.random.default_rng(0)
    held = np.full((num_sets, len(truth)), np.nan)
    for number in range(num_sets):
        y, score, patient = draw_set(draws, auroc, prevalence, num_patients)
        p = probabilities(score, auroc, prevalence)
        patients = resample_units(patient, "patients", NUM_DRAWS, number)
        (point,), drawn = measure(y[:, None], p[:, None], patients)
        units = count_units(y, y == 1, patients)
        for place, name in enumerate(Calibration._fields):
            low, high = calibration_interval(name, getattr(point, name), drawn[name][0], units)
            if not np.isnan(low):
                held[number, place] = low <= getattr(truth, name) <= high
    has_interval = ~np.isnan(held)
    shares: Float = np.nansum(held, axis=0) / np.maximum(has_interval.sum(axis=0), 1)
    return np.where(has_interval.mean(axis=0) > 0.5, shares, np.nan)


def rows(num_sets: int = NUM_SETS) -> Iterator[Sequence[str]]:
    """The rows of the table."""
    for auroc in AUROCS:
        for prevalence in PREVALENCES:
            truth = find_truth(auroc, prevalence)
            for num_patients in NUMS_OF_PATIENTS:
                shares = cover(truth, auroc, prevalence, num_patients, num_sets)
                yield (str(num_patients), f"{prevalence:.0%}", f"{auroc:.2f}",
                       *("none" if np.isnan(share) else f"{share:.1%}" for share in shares))  # fmt: skip


if __name__ == "__main__":
    names = [name.replace("_", " ") for name in Calibration._fields]
    print("| " + " | ".join(("patients", "prevalence", "AUROC", *names)) + " |")
    print("| " + " | ".join(["---:"] * (3 + len(names))) + " |")
    for row in rows():
        print("| " + " | ".join(row) + " |", flush=True)
