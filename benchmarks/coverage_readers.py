"""Errors of the tests against a panel of readers, and coverage of the intervals of Cohen's kappa.

`python -m benchmarks.coverage_readers` prints the table of docs/statistics.md.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from benchmarks.coverage import draw_clustered
from benchmarks.coverage_wide import IMAGES, MOST_IMAGES
from cxr.evaluation.statistics.agreement import score_calls, scored_interval
from cxr.evaluation.statistics.bootstrap import resample_units
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.mrmc import call_results, differences_of, fixed_readers, random_readers

NUM_SETS, NUM_DRAWS = 1000, 200
ALPHA = 0.05
SHAPES, PATIENTS, PREVALENCES, READERS = ("one", "uneven"), (200, 500), (0.05, 0.2), (3, 10)
COMMON = 0.5
"""Share of the variance of each rater's score that all of them have in common."""
CUT = 1.0
"""Every rater calls a score above it: a specificity of 84 %."""
SKILL, SPREAD = 1.0, 0.4
"""Readers' sensitivities are those of normal skills of this mean and standard deviation."""


@dataclass(frozen=True)
class Shares:
    """Shares of simulated sets, and how many sets gave a test.

    Attributes:
        fixed: Equal readers and an equal model, told apart by the test of fixed readers at 5 %.
        random: Readers who differ and a model as good as their mean, told apart by that of random readers.
        kappa: Intervals that hold the true kappa of a reader.
        num_sets: Sets.
    """

    fixed: float
    random: float
    kappa: float
    num_sets: int


def draw_calls(
    draws: np.random.Generator, shifts: Float, prevalence: float, num_patients: int, images: str
) -> tuple[Float, Float, npt.NDArray[np.intp]]:
    """(label [N], calls [N, K] of raters whose scores are shifted by so much where it is positive, patient)."""
    num_images = IMAGES[images](draws, num_patients).clip(1, MOST_IMAGES).astype(np.intp)
    patient = np.repeat(np.arange(num_patients), num_images)
    y = (draw_clustered(draws, patient) < norm.ppf(prevalence)).astype(np.float64)
    common = draw_clustered(draws, patient)
    own = np.stack([draw_clustered(draws, patient) for _ in shifts], axis=1)
    scores = np.sqrt(COMMON) * common[:, None] + np.sqrt(1 - COMMON) * own + shifts * y[:, None]
    return y, (scores > CUT).astype(np.float64), patient


def shares(
    images: str, num_patients: int, prevalence: float, num_readers: int, num_sets: int = NUM_SETS
) -> Shares:
    """Shares over simulated sets; one without two patients of a class does not count."""
    draws = np.random.default_rng(0)
    found = []
    for number in range(num_sets):
        # 1. readers who are all alike
        alike = np.full(1 + num_readers, CUT + SKILL)
        y, calls, patient = draw_calls(draws, alike, prevalence, num_patients, images)
        results = call_results("balanced_accuracy", y, calls, patient, num_patients)
        p_fixed = fixed_readers(*differences_of(results), results.freedom, None).p
        is_held = _holds_kappa(y, calls[:, 1], patient, prevalence, number)
        # 2. readers who differ; the model has the mean of the sensitivities that they are drawn from
        skills = np.append(SKILL / np.sqrt(1 + SPREAD**2), draws.normal(SKILL, SPREAD, num_readers))
        y, calls, patient = draw_calls(draws, CUT + skills, prevalence, num_patients, images)
        results = call_results("balanced_accuracy", y, calls, patient, num_patients)
        p_random = random_readers(*differences_of(results), None).p
        has_none = np.isnan(p_fixed) or np.isnan(p_random)
        found.append((p_fixed < ALPHA, p_random < ALPHA, is_held, has_none))
    table = np.array(found, dtype=np.float64)
    kept = table[(table[:, 3] == 0) & ~np.isnan(table[:, 2])]
    of_fixed, of_random, of_kappa = kept[:, :3].mean(axis=0).tolist()
    return Shares(of_fixed, of_random, of_kappa, len(kept))


def _holds_kappa(
    y: Float, calls: Float, patient: npt.NDArray[np.intp], prevalence: float, seed: int
) -> float:
    """Whether the interval of a reader's kappa holds the true one: 1 or 0, nan without an interval."""
    sensitivity, specificity = norm.cdf(SKILL), norm.cdf(CUT)
    called = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    agreement = prevalence * sensitivity + (1 - prevalence) * specificity
    chance = prevalence * called + (1 - prevalence) * (1 - called)
    truth = (agreement - chance) / (1 - chance)
    resampling = resample_units(patient, "patients", NUM_DRAWS, seed)
    low, high = scored_interval("kappa", score_calls(y[:, None], calls[:, None], resampling)[0]["kappa"])
    return np.nan if np.isnan(low) else float(low <= truth <= high)


def main() -> None:
    """Print the table."""
    print("| images per patient | patients | prevalence | readers | fixed readers | random readers | kappa |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for images, num_patients, prevalence, num_readers in product(SHAPES, PATIENTS, PREVALENCES, READERS):
        found = shares(images, num_patients, prevalence, num_readers)
        print(
            f"| {images} | {num_patients:,} | {prevalence:.0%} | {num_readers} "
            f"| {found.fixed:.1%} | {found.random:.1%} | {found.kappa:.1%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
