"""How often a 95 % interval holds the true AUROC: simulated test sets with several images a patient.

`python -m benchmarks.coverage` prints the table of docs/statistics.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from cxr.evaluation.statistics import delong
from cxr.evaluation.statistics.bootstrap import draw_auroc, resample_units
from cxr.evaluation.statistics.intervals import LEVEL, count_units, interval
from cxr.evaluation.statistics.metrics import Float, auroc

NUM_PATIENTS, NUM_SETS, NUM_DRAWS = 600, 1000, 1000
AUROCS, PREVALENCES = (0.70, 0.90), (0.05, 0.20)
WITHIN = 0.7
"""Share of the variance of a score, and of what decides the label, that a patient's images have in common."""


@dataclass(frozen=True)
class Coverage:
    """Share of simulated test sets whose interval holds the truth, by kind of interval."""

    auroc: float
    prevalence: float
    patients: float
    percentiles: float
    images: float
    delong: float


def draw_clustered(draws: np.random.Generator, patient: npt.NDArray[np.intp]) -> Float:
    """Standard normal values [N], of which the images of a patient [N] have the share WITHIN in common."""
    shared = draws.normal(size=patient.max() + 1)[patient]
    mixed: Float = np.sqrt(WITHIN) * shared + np.sqrt(1 - WITHIN) * draws.normal(size=len(patient))
    return mixed


def draw_set(
    draws: np.random.Generator, true_auroc: float, prevalence: float, num_patients: int
) -> tuple[Float, ...]:
    """(label, score, patient) of each image of patients with 1 to 8 images.

    The score is binormal: a positive image's is higher by sqrt(2) times the normal quantile of the AUROC. Labels and
    scores are the sum of a part of the patient and one of the image.
    """
    num_images = draws.integers(1, 9, num_patients)
    patient = np.repeat(np.arange(num_patients), num_images)

    y = (draw_clustered(draws, patient) < norm.ppf(prevalence)).astype(np.float64)
    score = draw_clustered(draws, patient) + np.sqrt(2) * norm.ppf(true_auroc) * y
    return y, score, patient.astype(np.float64)


def coverage(
    true_auroc: float,
    prevalence: float,
    num_sets: int,
    num_draws: int,
    num_patients: int = NUM_PATIENTS,
    seed: int = 0,
) -> Coverage:
    """Coverage over simulated sets; a set where the AUROC is undefined does not count."""
    draws = np.random.default_rng(seed)
    held: list[tuple[bool, ...]] = []
    for number in range(num_sets):
        y, score, patient = draw_set(draws, true_auroc, prevalence, num_patients)
        point = auroc(y, score)
        bounds = []
        of_patients = resample_units(patient, "patients", num_draws, number)
        of_images = resample_units(np.arange(len(y)), "images", num_draws, number)
        drawn, by_image = (
            draw_auroc(y[:, None], score[:, None], each)[0] for each in (of_patients, of_images)
        )
        bounds.append(interval(point, drawn, count_units(y, score >= 0, of_patients).for_metric("auroc")))
        bounds.append(np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
        bounds.append(interval(point, by_image, count_units(y, score >= 0, of_images).for_metric("auroc")))
        own, covariance = delong.covariance(y, score[:, None])
        bounds.append(delong.interval(float(own[0]), float(covariance[0, 0])))
        if not np.isnan(point):
            held.append(tuple(low <= true_auroc <= high for low, high in bounds))
    shares = np.mean(held, axis=0)
    return Coverage(true_auroc, prevalence, *(float(share) for share in shares))


def every_case(num_sets: int = NUM_SETS, num_draws: int = NUM_DRAWS) -> Iterator[Coverage]:
    """Two AUROCs by two prevalences."""
    for true_auroc in AUROCS:
        for prevalence in PREVALENCES:
            yield coverage(true_auroc, prevalence, num_sets, num_draws)


def main() -> None:
    """Print the table."""
    print("| true AUROC | prevalence | over patients | their percentiles | over images | DeLong |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for case in every_case():
        shares = " | ".join(
            f"{share:.1%}" for share in (case.patients, case.percentiles, case.images, case.delong)
        )
        print(f"| {case.auroc:.2f} | {case.prevalence:.0%} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
