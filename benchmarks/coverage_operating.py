"""How often patient intervals of operating points and net benefit hold the truth.

`python -m benchmarks.coverage_operating` prints the table of docs/statistics.md.
"""

import numpy as np
import pandas as pd
from scipy.stats import norm

from benchmarks.coverage_wide import Case, draw_set, print_table, truth
from cxr.evaluation.operating import operating_tables
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.statistics.bootstrap import resample_units
from cxr.evaluation.statistics.decision import PROBABILITIES
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.operating import MAX_FALSE_RATE, further_rates

NUM_SETS, NUM_DRAWS = 400, 200
PREVALENCES = (0.02, 0.2)
NET_BENEFIT = "net_benefit"
METRICS = ("balanced_accuracy", "mcc", "lr_positive", "lr_negative", "sensitivity_at_90", "sensitivity_at_95",
           "partial_auroc", NET_BENEFIT)  # fmt: skip


def true_values(case: Case) -> tuple[dict[str, float], float, int]:
    """(the true value of each of METRICS, the threshold of the highest true F1, the net benefit's place)."""
    _, threshold = truth(case)
    place = int(np.argmin(np.abs(PROBABILITIES - case.prevalence)))
    tp, fp = _called(case, threshold)
    cells = tp, fp, case.prevalence - tp, 1 - case.prevalence - fp
    values = {name: float(rate) for name, rate in further_rates(*map(np.array, cells))._asdict().items()}
    for name, rate in (("sensitivity_at_90", 0.1), ("sensitivity_at_95", 0.05)):
        values[name] = float(_sensitivity(case, np.array([rate]))[0])
    # the area up to a false-positive rate, by the trapezoid rule over a fine grid
    rates = np.linspace(0, MAX_FALSE_RATE, 100_001)[1:]
    area = float(np.trapezoid(_sensitivity(case, rates), rates))
    least = MAX_FALSE_RATE**2 / 2
    values["partial_auroc"] = (1 + (area - least) / (MAX_FALSE_RATE - least)) / 2
    odds = PROBABILITIES[place] / (1 - PROBABILITIES[place])
    true, false = _called(case, float(PROBABILITIES[place]))
    values[NET_BENEFIT] = true - odds * false
    return values, threshold, place


def _called(case: Case, probability: float) -> tuple[float, float]:
    """(true, false) positives as shares of all images, where this probability or more is called."""
    logit, prior = (np.log(p / (1 - p)) for p in (probability, case.prevalence))
    score = (logit - prior + case.shift**2 / 2) / case.shift
    return case.prevalence * norm.sf(score - case.shift), (1 - case.prevalence) * norm.sf(score)


def _sensitivity(case: Case, false_rates: Float) -> Float:
    found: Float = norm.sf(norm.isf(false_rates) - case.shift)
    return found


def coverage(
    case: Case, num_sets: int = NUM_SETS, num_draws: int = NUM_DRAWS
) -> dict[str, tuple[float, int]]:
    """(share of the intervals that hold the truth, number of intervals) by metric; a set without one is left out."""
    true, threshold, place = true_values(case)
    draws = np.random.default_rng(0)
    held: dict[str, list[bool]] = {name: [] for name in METRICS}
    for number in range(num_sets):
        y, p, patient = draw_set(draws, case)
        rows = pd.DataFrame({"image": np.arange(len(y)).astype(str), "patient_id": patient.astype(str)})
        rows = rows.assign(split="test", view="", sex="", age=np.nan)
        predictions = Predictions(rows, ("Mass",), y[:, None], p[:, None])
        resampling = resample_units(patient, "patients", num_draws, number)
        found = operating_tables(predictions, np.array([threshold]), resampling, ())
        for name in METRICS:
            row = found.decision.iloc[place] if name == NET_BENEFIT else found.points.iloc[0]
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            if not np.isnan(low):
                held[name].append(bool(low <= true[name] <= high))
    return {name: (float(np.mean(each)) if each else np.nan, len(each)) for name, each in held.items()}


if __name__ == "__main__":
    print_table(METRICS, PREVALENCES, coverage)
