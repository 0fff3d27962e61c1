"""How often two equally good models are found different at 5 %: DeLong's test by patient and by image.

`python -m benchmarks.type_one` prints the table of docs/statistics.md in about five minutes.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmarks.coverage import draw_clustered
from benchmarks.coverage_wide import IMAGES, MOST_IMAGES
from cxr.evaluation.statistics import delong
from cxr.evaluation.statistics.metrics import Float

NUM_SETS = 1000
ALPHA = 0.05
AUROCS, PREVALENCES, PATIENTS = (0.75, 0.90), (0.05, 0.2), (200, 1000)
BETWEEN = 0.5
"""Share of the variance of each score that both models have in common."""


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


def main() -> None:
    """Print the table."""
    print("| images per patient | patients | prevalence | AUROC | by patient | by image |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for images, num_patients, prevalence, auroc in product(IMAGES, PATIENTS, PREVALENCES, AUROCS):
        found = type_one(auroc, prevalence, num_patients, images)
        print(
            f"| {images} | {num_patients:,} | {prevalence:.0%} | {auroc:.2f} "
            f"| {found.by_patient:.1%} | {found.by_image:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
