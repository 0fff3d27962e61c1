"""How often patient intervals hold the truth, metric by metric: AUROC 0.6 to 0.99, rare findings, uneven patients.

`python -m benchmarks.coverage_wide` prints the tables of docs/statistics.md in about ten minutes on two cores.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice, product

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm

from benchmarks.coverage import draw_clustered
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import RESAMPLED, draw_metrics, resample_units
from cxr.evaluation.statistics.intervals import count_units, metric_interval
from cxr.evaluation.statistics.metrics import Float

NUM_SETS, NUM_DRAWS = 400, 200
AUROCS, PREVALENCES, PATIENTS = (0.60, 0.90, 0.99), (0.002, 0.02, 0.2), (100, 1000)
MOST_IMAGES = 184
"""Images that one patient of ChestX-ray14 has at most."""
IMAGES: dict[str, Callable[[np.random.Generator, int], Float]] = {
    "one": lambda draws, num: np.ones(num),
    "uneven": lambda draws, num: np.exp(draws.normal(0.55, 1.15, num)).round(),
    "very uneven": lambda draws, num: draws.pareto(1.2, num) + 1,
}
"""Images per patient: one; 3.5 on average, one patient in a hundred over 25; 3.8, one in a hundred over 45."""


@dataclass(frozen=True)
class Case:
    """One setting: the true AUROC, the prevalence, patients, and their images (a key of IMAGES)."""

    auroc: float
    prevalence: float
    num_patients: int
    images: str

    @property
    def shift(self) -> float:
        """How much higher a positive row's score is, in standard deviations."""
        return float(np.sqrt(2) * norm.ppf(self.auroc))

    def probability(self, score: Float) -> Float:
        """The true probability of a positive label at this score."""
        p: Float = expit(logit(self.prevalence) + self.shift * score - self.shift**2 / 2)
        return p


def truth(case: Case) -> tuple[dict[str, float], float]:
    """(the true value of each of RESAMPLED, the threshold of the highest true F1), by sums over a fine grid."""
    score = np.linspace(8 + case.shift, -8, 200_001)  # falling, as thresholds do
    step = score[0] - score[1]
    positive, negative = case.prevalence * norm.sf(score - case.shift), (1 - case.prevalence) * norm.sf(score)
    f1 = 2 * positive / (positive + negative + case.prevalence)
    best = int(np.argmax(f1))
    tp, fp = positive[best], negative[best]
    rates = metrics.rates(tp, fp, case.prevalence - tp, 1 - case.prevalence - fp)
    p = case.probability(score)
    density = case.prevalence * norm.pdf(score - case.shift), (1 - case.prevalence) * norm.pdf(score)
    brier = step * float(np.sum(density[0] * (1 - p) ** 2 + density[1] * p**2))
    precision = positive / (positive + negative)
    average_precision = float(np.sum(np.diff(positive) * precision[1:]) / case.prevalence)
    values = (case.auroc, average_precision, *(float(rate) for rate in rates), brier)
    return dict(zip(RESAMPLED, values, strict=True)), float(p[best])


def draw_set(draws: np.random.Generator, case: Case) -> tuple[Float, Float, npt.NDArray[np.intp]]:
    """(label, probability, patient) of each image."""
    num_images = IMAGES[case.images](draws, case.num_patients).clip(1, MOST_IMAGES).astype(np.intp)
    patient = np.repeat(np.arange(case.num_patients), num_images)

    y = (draw_clustered(draws, patient) < norm.ppf(case.prevalence)).astype(np.float64)
    return y, case.probability(draw_clustered(draws, patient) + case.shift * y), patient


def coverage(
    case: Case, num_sets: int = NUM_SETS, num_draws: int = NUM_DRAWS
) -> dict[str, tuple[float, int]]:
    """(share of the intervals that hold the truth, number of intervals) by metric; a set without one is left out."""
    true, threshold = truth(case)
    draws = np.random.default_rng(0)
    held: dict[str, list[bool]] = {name: [] for name in RESAMPLED}
    for number in range(num_sets):
        y, p, patient = draw_set(draws, case)
        resampling = resample_units(patient, "patients", num_draws, number)
        point = metrics.point(y, p, threshold)
        drawn = draw_metrics(y[:, None], p[:, None], np.array([threshold]), resampling)
        units = count_units(y, p >= threshold, resampling)
        for name in RESAMPLED:
            low, high = metric_interval(name, getattr(point, name), drawn[name][0], units)
            if not np.isnan(low):
                held[name].append(bool(low <= true[name] <= high))
    return {name: (float(np.mean(found)) if found else np.nan, len(found)) for name, found in held.items()}


def print_table(
    metrics: Sequence[str],
    prevalences: Sequence[float],
    cover: Callable[[Case], dict[str, tuple[float, int]]],
) -> None:
    """Print the lowest and highest share of each metric over AUROCs, by the rest of the setting.

    Args:
        metrics: Their names.
        prevalences: Of the cases.
        cover: (share, number of sets with an interval) of each metric in a case.
    """
    print("| images per patient | patients | prevalence | " + " | ".join(metrics) + " |")
    print("| --- | ---: | ---: |" + " ---: |" * len(metrics))
    settings = list(product(IMAGES, PATIENTS, prevalences))
    cases = [
        Case(auroc, prevalence, num_patients, images)
        for images, num_patients, prevalence in settings
        for auroc in AUROCS
    ]
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(cover, cases)
        for images, num_patients, prevalence in settings:
            rows = list(islice(found, len(AUROCS)))
            cells = " | ".join(_cell([shares[name] for shares in rows]) for name in metrics)
            print(f"| {images} | {num_patients:,} | {prevalence:.1%} | {cells} |", flush=True)


def _cell(shares: list[tuple[float, int]]) -> str:
    """As `91-97`: the lowest and highest share in percent where half of the sets or more have an interval."""
    percents = [100 * share for share, num in shares if num >= NUM_SETS / 2]
    return f"{min(percents):.0f}-{max(percents):.0f}" if percents else "none"


if __name__ == "__main__":
    print_table(RESAMPLED, PREVALENCES, coverage)
