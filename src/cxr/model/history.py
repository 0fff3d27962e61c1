"""The validation metric of past epochs: plateaus, and epochs since the best."""

import math
from collections.abc import Sequence


def count_plateaus(history: Sequence[float], patience: int) -> int:
    """How often `patience` epochs in a row were no better than the best epoch before them."""
    best, stalled, plateaus = -math.inf, 0, 0
    for metric in history:
        if metric > best:
            best, stalled = metric, 0
        else:
            stalled += 1
        if stalled >= patience:  # the next plateau is counted from here
            plateaus, stalled = plateaus + 1, 0
    return plateaus


def epochs_since_best(history: Sequence[float]) -> int:
    """Epochs after the first epoch with the best metric."""
    if not history:
        return 0
    # max takes the first of equal epochs, and so does the choice of best.safetensors
    best = max(range(len(history)), key=lambda epoch: history[epoch])
    return len(history) - 1 - best
