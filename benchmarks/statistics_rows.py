"""Bootstrap intervals at the size of ChestX-ray14's test set, beside a loop over scikit-learn."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.timing import Row
from cxr.config.schema import Eval
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.report import score
from cxr.evaluation.statistics.bootstrap import draw_auroc, draw_metrics, resample_units
from cxr.evaluation.statistics.decision import draw_net_benefit
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.statistics.operating import draw_operating
from cxr.evaluation.thresholds import fixed
from cxr.findings import NIH_14

NUM_PATIENTS, NUM_IMAGES, NUM_DRAWS, LOOPED = 2_797, 25_596, 1_000, 10
PREVALENCE = (
    0.128,
    0.042,
    0.182,
    0.239,
    0.068,
    0.063,
    0.022,
    0.104,
    0.071,
    0.036,
    0.043,
    0.017,
    0.045,
    0.0034,
)
"""Of the 14 findings in the official test list."""


def intervals(rounds: int) -> list[Row]:
    """Seconds for 1,000 patient draws of 14 findings over 25,596 images, as wall-clock time of one process."""
    of_patient, y, p = _predictions()
    resampling = resample_units([f"{patient:05d}" for patient in of_patient], "patients", NUM_DRAWS, 0)
    thresholds = np.full(len(NIH_14), 0.3)
    rows = pd.DataFrame({"image": [f"{row:08d}.png" for row in range(NUM_IMAGES)], "split": "test"})
    # as many subgroups as ChestX-ray14 has: two views, two sexes, bands of age
    people = np.random.default_rng(1)
    sex, age = people.choice(["F", "M"], NUM_PATIENTS), people.integers(20, 90, NUM_PATIENTS).astype(float)
    rows = rows.assign(
        patient_id=[f"{patient:05d}" for patient in of_patient],
        view=people.choice(["PA", "AP"], NUM_IMAGES),
        sex=sex[of_patient],
        age=age[of_patient],
    )
    predictions = Predictions(rows, NIH_14, y, p)
    contenders: dict[str, Callable[[], object]] = {
        "scikit-learn, AUROC in a loop": partial(_loop, y, p, of_patient),
        "cxr, AUROC": lambda: draw_auroc(y, p, resampling),
        "cxr, AUROC, average precision, F1 and the rest": lambda: draw_metrics(y, p, thresholds, resampling),
        "cxr, operating points": lambda: draw_operating(y, p, thresholds, resampling),
        "cxr, net benefit": lambda: draw_net_benefit(y, p, resampling),
        "cxr, the whole report's figures": lambda: score(predictions, fixed(NIH_14), config=Eval()),
    }
    group = f"intervals: {NUM_DRAWS:,} patient draws x 14 findings x {NUM_IMAGES:,} images"
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for count in range(rounds + 1):
        for name, work in contenders.items():
            begun = time.perf_counter()
            work()
            times = NUM_DRAWS / LOOPED if "loop" in name else 1
            if count:  # the first imports scikit-learn
                seconds[name].append(times * (time.perf_counter() - begun))
    first = float(np.median(seconds["scikit-learn, AUROC in a loop"]))
    return [
        Row(
            group,
            name,
            float(np.median(own)),
            min(own),
            max(own),
            "s",
            first / float(np.median(own)),
            _note(name),
        )
        for name, own in seconds.items()
    ]


def _note(name: str) -> str:
    return f"from {LOOPED} draws; ratio: times faster" if "loop" in name else ""


def _predictions() -> tuple[np.ndarray, Float, Float]:
    draws = np.random.default_rng(0)
    of_patient = draws.integers(NUM_PATIENTS, size=NUM_IMAGES)
    of_patient[:NUM_PATIENTS] = np.arange(NUM_PATIENTS)
    y = (draws.random((NUM_IMAGES, len(PREVALENCE))) < PREVALENCE).astype(np.float64)
    logits = draws.normal(size=y.shape) + 1.3 * y - 2
    return of_patient, y, (1 / (1 + np.exp(-logits))).astype(np.float32).astype(np.float64)


def _loop(y: Float, p: Float, of_patient: np.ndarray) -> None:
    """A few draws, each a resampled copy of the rows given to scikit-learn, as is usually done."""
    from sklearn.metrics import roc_auc_score

    images = [np.flatnonzero(of_patient == patient) for patient in range(NUM_PATIENTS)]
    draws = np.random.default_rng(0)
    for _ in range(LOOPED):
        rows = np.concatenate(
            [images[patient] for patient in draws.integers(NUM_PATIENTS, size=NUM_PATIENTS)]
        )
        for column in range(y.shape[1]):
            roc_auc_score(y[rows, column], p[rows, column])
