"""The validation figures of past epochs: plateaus, and epochs without a better one."""

import math
from collections.abc import Sequence


def count_plateaus(history: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row brought no better figure than the best before them."""
    best, stalled, plateaus = -math.inf, 0, 0
    for figure in history:
        if figure > best:
            best, stalled = figure, 0
        else:
            stalled += 1
        if stalled >= patience:
            plateaus, stalled = plateaus + 1, 0
    return plateaus


def epochs_since_best(history: Sequence[float]) -> int:
    """Epochs after the first one with the best figure."""
    return len(history) - 1 - max(range(len(history)), key=lambda epoch: history[epoch]) if history else 0
