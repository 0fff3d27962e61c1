"""Linear probes: can view, sex, age or dataset be told from a network's features?"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.arrays import Float32
from cxr.evaluation.group_metrics import MIN_OF_EACH_CLASS
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import Resampling, draw_auroc
from cxr.evaluation.statistics.intervals import (
    NONE,
    Interval,
    effective_units,
    interval,
    rarer_units,
    ratio_interval,
    real_interval,
)
from cxr.evaluation.statistics.metrics import Float

MODEL, RANDOM = "model", "random"
ATTRIBUTES = {"view": "view", "sex": "sex", "source": "dataset"}
"""Columns whose values are told apart, and their names in a report."""
COLUMNS = ("target", "metric", "num_fit", "num_test", "num_positive", "value", "low", "high", "random",
           "random_low", "random_high", "chance")  # fmt: skip
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)
"""Inverse penalties of the logistic regression that cross-validation chooses from."""
_FOLDS = 5

Features = Mapping[str, Float32]
"""By MODEL and RANDOM: pooled features [n, D] of the model and of its network with random weights."""


@dataclass(frozen=True)
class Rows:
    """Images to fit on, or to score: table rows [n] with patient_id, view, sex, age, and their features."""

    table: pd.DataFrame
    features: Features


def probe(fit: Rows, test: Rows, resampling: Resampling | None) -> tuple[pd.DataFrame, list[str]]:
    """(COLUMNS: a row per target and metric; notes on what could not be probed).

    Patients of the test rows are left out of the fit. Penalties are chosen by cross-validation over the
    patients that are fitted on.

    Args:
        fit: Images to fit on.
        test: Images to score, in the order of the resampling.
        resampling: What is drawn; without it there are no intervals.
    """
    # The features might tell a patient who is in both, and the attribute with the patient.
    is_apart = ~fit.table["patient_id"].isin(test.table["patient_id"]).to_numpy()
    fit = Rows(fit.table[is_apart], {name: values[is_apart] for name, values in fit.features.items()})
    rows: list[dict[str, object]] = []
    notes: list[str] = []
    for column, title in ATTRIBUTES.items():
        if column not in fit.table or column not in test.table:
            continue
        for value in _values(test.table[column]):
            # 1 for the value, 0 for another, nan for unknown
            labels = [_is_value(part.table[column], value) for part in (fit, test)]
            rows += _probe_class(f"{title}: {value}", fit, test, labels[0], labels[1], resampling, notes)
    ages = fit.table["age"].to_numpy(np.float64), test.table["age"].to_numpy(np.float64)
    if not np.isnan(ages[0]).all() and not np.isnan(ages[1]).all():
        median = float(np.nanmedian(ages[0]))
        # the median of the images that are fitted on, so that the test images choose nothing
        above = [np.where(np.isnan(age), np.nan, age > median) for age in ages]
        rows += _probe_class(f"age above {median:g}", fit, test, above[0], above[1], resampling, notes)
        rows += _probe_age(fit, test, ages[0], ages[1], resampling)
    return pd.DataFrame(rows, columns=list(COLUMNS)), notes


def _values(column: pd.Series) -> Sequence[str]:
    """The values that are told from all others; of two, the second says the same as the first."""
    values = sorted(set(column[column != ""]))
    return values[:1] if len(values) == 2 else values if len(values) > 2 else []


def _is_value(column: pd.Series, value: str) -> Float:
    return np.where(column == "", np.nan, column == value).astype(np.float64)


def _probe_class(
    target: str,
    fit: Rows,
    test: Rows,
    fit_y: Float,
    test_y: Float,
    resampling: Resampling | None,
    notes: list[str],
) -> list[dict[str, object]]:
    """A row with the AUROC of a logistic regression; nothing, and a note, where patients are too few."""
    for part, y, name in ((fit, fit_y, "fitted on"), (test, test_y, "tested on")):
        patients = part.table["patient_id"].to_numpy(dtype=str)
        num = min(len(np.unique(patients[y == label])) for label in (0, 1))
        if num < MIN_OF_EACH_CLASS:
            notes.append(
                f"not probed: {target}: fewer than {MIN_OF_EACH_CLASS} patients of a class are {name}"
            )
            return []
    known = ~np.isnan(fit_y)
    groups = fit.table["patient_id"].to_numpy(dtype=str)[known]
    found = {}
    for name in (MODEL, RANDOM):
        # random weights show what any network's features tell, trained or not
        regression = _fit_logistic(fit.features[name][known], fit_y[known], groups)
        scores = regression.decision_function(test.features[name]).astype(np.float64)
        found[name] = metrics.auroc(test_y, scores), _auroc_interval(test_y, scores, resampling)
    num, num_positive = metrics.count(test_y)
    return [_row(target, "AUROC", int(known.sum()), num, num_positive, found, 0.5)]


def _auroc_interval(y: Float, scores: Float, resampling: Resampling | None) -> Interval:
    if resampling is None:
        return NONE
    draws = draw_auroc(y[:, None], scores[:, None], resampling)[0]
    return interval(metrics.auroc(y, scores), draws, rarer_units(y, resampling))


def _row(
    target: str, metric: str, num_fit: int, num: int, num_positive: int | None,
    found: Mapping[str, tuple[float, Interval]], chance: float,
) -> dict[str, object]:  # fmt: skip
    values = (target, metric, num_fit, num, num_positive, found[MODEL][0], *found[MODEL][1],
              found[RANDOM][0], *found[RANDOM][1], chance)  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _fit_logistic(features: Float32, y: Float, groups: npt.NDArray[np.str_]) -> Any:  # noqa: ANN401  no types
    """A logistic regression on standardised features whose penalty has the best AUROC over patients."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # standardised within each fold: the penalty treats all features alike
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    # Folds of whole patients: a penalty is chosen for patients that the fit has not seen.
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    grid = {"logisticregression__C": _STRENGTHS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # weak penalties may not converge; cross-validation passes them over
        return GridSearchCV(model, grid, scoring="roc_auc", cv=folds).fit(features, y, groups=groups)


def _probe_age(
    fit: Rows, test: Rows, fit_age: Float, test_age: Float, resampling: Resampling | None
) -> list[dict[str, object]]:
    """Two rows of a ridge regression: R2, and the mean absolute error beside that of the median age."""
    known, tested = ~np.isnan(fit_age), ~np.isnan(test_age)
    groups = fit.table["patient_id"].to_numpy(dtype=str)[known]
    if min(len(np.unique(groups)), int(tested.sum())) < 2 * MIN_OF_EACH_CLASS:
        return []
    r2: dict[str, tuple[float, Interval]] = {}
    mae: dict[str, tuple[float, Interval]] = {}
    for name in (MODEL, RANDOM):
        regression = _fit_ridge(fit.features[name][known], fit_age[known], groups)
        # years, [n]
        errors = test_age[tested] - regression.predict(test.features[name][tested])
        of_row = resampling.of_row[tested] if resampling else None
        r2[name], mae[name] = _age_metrics(errors, test_age[tested], of_row, resampling)
    # the error of one who always says the median age of the images that are fitted on
    chance = float(np.abs(test_age[tested] - np.median(fit_age[known])).mean())
    counts = int(known.sum()), int(tested.sum()), None
    return [_row("age", "R2", *counts, r2, 0.0), _row("age", "MAE (years)", *counts, mae, chance)]


def _fit_ridge(features: Float32, y: Float, groups: npt.NDArray[np.str_]) -> Any:  # noqa: ANN401  no types
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, GroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # from 0.1 to 100,000, a factor of ten apart
    grid = {"ridge__alpha": [10.0**power for power in range(-1, 6)]}
    folds = GroupKFold(_FOLDS, shuffle=True, random_state=0)
    return GridSearchCV(make_pipeline(StandardScaler(), Ridge()), grid, scoring="r2", cv=folds).fit(
        features, y, groups=groups
    )


def _age_metrics(
    errors: Float, ages: Float, of_row: npt.NDArray[np.intp] | None, resampling: Resampling | None
) -> tuple[tuple[float, Interval], tuple[float, Interval]]:
    """((R2, its interval), (mean absolute error, its interval)) by sums over patients."""
    # [5, n]: their sums make both metrics, so that a draw needs sums per patient alone
    parts = np.stack([np.ones(len(ages)), errors**2, ages, ages**2, np.abs(errors)])
    r2, mae = _from_sums(parts.sum(axis=1, keepdims=True))
    points = float(r2[0]), float(mae[0])
    if resampling is None or of_row is None:
        return (points[0], NONE), (points[1], NONE)
    sums = np.stack([np.bincount(of_row, part, resampling.num_units) for part in parts])
    # [5, U] @ [U, d] of some draws at a time
    drawn = [_from_sums(sums @ counts) for counts in resampling.counts()]
    units = effective_units(of_row)
    r2_draws, mae_draws = (np.concatenate(values) for values in zip(*drawn, strict=True))
    return (points[0], real_interval(points[0], r2_draws, units)), (
        points[1],
        ratio_interval(points[1], mae_draws, units),
    )


def _from_sums(sums: Float) -> tuple[Float, Float]:
    """(R2 [D], mean absolute error [D]) of the sums [5, D] of `_age_metrics`."""
    num, squared_errors, total, squares, absolute = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        # R2: squared errors over the squares about the draw's own mean
        return 1 - squared_errors / (squares - total**2 / num), absolute / num
