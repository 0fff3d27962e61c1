"""The learning curves of a run: losses, validation AUROC and learning rate."""

import io
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cxr.report.plots import BLUE, GREY, ORANGE
from cxr.report.run_files import Line, merge_epochs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_INCHES = (10.0, 2.9)
_FONT_SIZE = 8
_MAX_POINTS = 1000

History = Sequence[Mapping[str, float | None]]


@dataclass(frozen=True)
class Step:
    """The loss and the learning rate of a step; `epoch` is 1.5 in the middle of the second."""

    epoch: float
    loss: float
    lr: float


def draw_curves(lines: Iterable[Line]) -> bytes:
    """The curves of a log as PNG; nothing of matplotlib that other threads use is changed."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs how it searches for fonts
    from matplotlib.figure import Figure as Drawing

    lines = list(lines)
    drawn = Drawing(figsize=_INCHES)
    # twice as fast as a layout that fits the texts
    drawn.subplots_adjust(left=0.05, right=0.99, bottom=0.15, top=0.91, wspace=0.2)
    fill(drawn, merge_epochs(lines), _steps(lines))
    png = io.BytesIO()
    drawn.savefig(png, format="png", dpi=120)
    return png.getvalue()


def _steps(lines: Sequence[Line]) -> list[Step]:
    """The logged steps; none before the first epoch has ended, as its length is not known."""
    # steps of an epoch, from the first epoch that has ended
    ends = [line.step / line.epoch for line in lines if line.kind == "train" and line.epoch and line.step]
    if not ends:
        return []
    steps = [
        Step(line.step / ends[0], line.loss, line.lr)
        for line in lines
        if line.kind == "step" and line.loss is not None and line.lr is not None
    ]
    # about 1,000 at most: more points than pixels only take time
    return steps[:: max(1, len(steps) // _MAX_POINTS)]


def fill(
    drawing: "Drawing", history: History, steps: Sequence[Step] = (), font_size: float = _FONT_SIZE
) -> None:
    """Draw three panels: losses, validation AUROC with the best epoch, learning rate.

    Args:
        drawing: An empty figure.
        history: Per epoch `loss`, `val_loss`, `val_auroc`, `lr` and `best`, each as far as it is known.
        steps: Steps between them.
        font_size: Points of the letters.
    """
    losses, auroc, rates = drawing.subplots(1, 3)
    epochs = np.arange(1, len(history) + 1)
    best = find_best(history)

    # 1. losses: noisy within an epoch
    losses.plot([step.epoch for step in steps], [step.loss for step in steps], color=GREY, lw=0.5, alpha=0.5)
    losses.plot(
        epochs,
        _values(history, "loss"),
        "o-",
        color=GREY,
        ms=3,
        lw=1,
        label="training (thin: steps)" if steps else "training",
    )
    losses.plot(epochs, _values(history, "val_loss"), "o-", color=ORANGE, ms=3, lw=1, label="validation")
    # from 0: how far a loss falls is seen only beside 0
    losses.set_ylim(bottom=0)
    losses.legend(frameon=False, fontsize=font_size)

    # 2. the epoch whose weights are in best.safetensors has a ring
    aurocs = _values(history, "val_auroc")
    auroc.plot(epochs, aurocs, "o-", color=BLUE, ms=3, lw=1)
    best_auroc = aurocs[best - 1] if best else np.nan
    auroc.plot(best, best_auroc, "o", ms=8, mfc="none", mec=BLUE)

    # 3. the learning rate of every step, or at the end of each epoch where they are not known
    ends = [(float(epoch), rate) for epoch, rate in zip(epochs, _values(history, "lr"), strict=True)]
    # by epoch, so that the line does not run back where steps and epochs meet
    points = sorted([*ends, *((step.epoch, step.lr) for step in steps)])
    rates.plot([epoch for epoch, _ in points], [rate for _, rate in points], color=GREY, lw=1)
    rates.set_ylim(bottom=0)

    known = f": best {best_auroc:.4f} in epoch {best}" if np.isfinite(best_auroc) else ""
    titles = ("Loss", f"Validation AUROC{known}", "Learning rate")
    for axes, title in zip((losses, auroc, rates), titles, strict=True):
        _label(axes, title, len(history), font_size)


def find_best(history: History) -> int:
    """The epoch of best.safetensors, from 1; 0 where that is not known."""
    return max((epoch for epoch, values in enumerate(history, 1) if values.get("best")), default=0)


def _values(history: History, name: str) -> list[float]:
    return [np.nan if (value := row.get(name)) is None else value for row in history]


def _label(axes: "Axes", title: str, num_epochs: int, font_size: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=font_size, loc="left")
    axes.set_xlabel("epoch", fontsize=font_size)
    axes.set_xlim(0, 1.02 * max(1, num_epochs))
    axes.tick_params(labelsize=font_size)
    axes.yaxis.get_offset_text().set_fontsize(font_size)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", lw=0.4)
