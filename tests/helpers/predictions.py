"""Predictions drawn with ties and unknown cells."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from cxr.evaluation.predictions import Predictions

Draw = Callable[..., Predictions]


def draw_predictions(
    num: int = 200,
    findings: tuple[str, ...] = ("Mass", "Edema", "Hernia"),
    split: str = "test",
    seed: int = 0,
) -> Predictions:
    """Images of patients with three each; a tenth of the labels is unknown."""
    draws = np.random.default_rng(seed)
    y = (draws.random((num, len(findings))) < 0.3).astype(np.float64)
    p = np.clip(y * 0.2 + draws.integers(0, 60, y.shape) / 100, 0, 1).astype(np.float32).astype(np.float64)
    y[draws.random(y.shape) < 0.1] = np.nan
    rows = pd.DataFrame(
        {
            "image": [f"{split}_{row:04d}.png" for row in range(num)],
            "patient_id": [f"{split}_{row // 3:04d}" for row in range(num)],
            "split": split,
            "view": "PA",
            "sex": "F",
            "age": 50.5,
        }
    )
    return Predictions(rows, findings, y, p)


def miscalibrated(intercept: float, slope: float, num: int = 20_000, seed: int = 0) -> Predictions:
    """Probabilities with wrong logits x, and labels drawn from intercept + slope x."""
    draws = np.random.default_rng(seed)
    x = draws.normal(-1, 1.5, num)
    y = (draws.random(num) < expit(intercept + slope * x)).astype(np.float64)
    rows = pd.DataFrame(
        {"image": np.arange(num).astype(str), "patient_id": "", "split": "val", "view": "", "sex": ""}
    )
    return Predictions(rows.assign(age=np.nan), ("Mass",), y[:, None], expit(x)[:, None])


@pytest.fixture
def draw() -> Draw:
    """Draws Predictions: `draw(num, findings, split, seed)`."""
    return draw_predictions
