"""The flow diagram: images and patients that were read, left out with the reason, and in each split."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cxr.checklist.facts import Data
from cxr.console import count
from cxr.labels.splits import SPLITS
from cxr.report.document import Figure
from cxr.report.plots import BLACK, DOUBLE_COLUMN, GREY, MIN_POINTS, save
from cxr.report.plots import drawing as style
from cxr.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

_SPLIT_NAMES = {"train": "Training", "val": "Validation", "test": "Test"}
_LINE, _PAD, _GAP = 3.4, 4.0, 9.0
"""Millimetres of a line, around the lines of a box, and between boxes."""


@dataclass(frozen=True)
class Box:
    """A box of the diagram: images, patients (None where they are not named), and its lines."""

    images: int
    patients: int | None
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Flow:
    """The boxes: what was read, left out, included, and in each split."""

    read: Box
    excluded: Box
    included: Box
    splits: tuple[Box, ...]


def count_flow(data: Data) -> Flow:
    """The numbers of the diagram; images add up, and patients do where none is in two splits."""
    rows = data.rows
    patients = int(rows["patient_id"].nunique()) if data.names_patients else None
    read = _box("Images in the label tables", data.num_images, _known(data, data.num_patients))
    num_dropped = sum(data.dropped.values())
    # patients of the tables who have no image left
    gone = None if patients is None else data.num_patients - patients
    reasons = tuple(f"{num:,}: {shorten(reason, 40)}" for reason, num in data.dropped.items() if num)
    excluded = Box(
        num_dropped, gone, (*_box("Left out", num_dropped, None).lines, *reasons, *_say_gone(gone))
    )
    # every split has a box, also without images
    splits = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        number = _known(data, int(part["patient_id"].nunique()))
        splits.append(_box(_SPLIT_NAMES[split], len(part), number))
    return Flow(read, excluded, _box("Included", len(rows), patients), tuple(splits))


def _known(data: Data, num_patients: int) -> int | None:
    return num_patients if data.names_patients else None


def _say_gone(patients: int | None) -> tuple[str, ...]:
    return () if not patients else (f"{count(patients, 'patient')} without any other image",)


def _box(title: str, images: int, patients: int | None) -> Box:
    lines = [title, count(images, "image")]
    if patients is not None:
        lines.append(count(patients, "patient"))
    return Box(images, patients, tuple(lines))


def draw_flow(data: Data) -> Figure:
    """The diagram, two columns of a journal wide."""
    flow = count_flow(data)
    heights = [_height(box) for box in (flow.read, flow.excluded, flow.included, flow.splits[0])]
    # from the top: read, excluded to the right of the line, included, splits
    height = sum(heights) + 3 * _GAP + 2
    # millimetres from the bottom, as matplotlib counts
    tops = [height - 1 - sum(heights[:place]) - place * _GAP for place in range(4)]

    def fill(drawing: "Drawing") -> None:
        axes = drawing.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, DOUBLE_COLUMN), ylim=(0, height))
        axes.axis("off")
        middle = DOUBLE_COLUMN * 0.36
        _draw_box(axes, flow.read, middle, tops[0])
        _draw_box(axes, flow.excluded, DOUBLE_COLUMN * 0.76, tops[1], wide=72)
        _draw_box(axes, flow.included, middle, tops[2])
        _draw_arrow(axes, (middle, tops[0] - heights[0]), (middle, tops[2]))
        # the height of the middle of the box of what was left out
        aside = tops[1] - heights[1] / 2
        _draw_arrow(axes, (middle, aside), (DOUBLE_COLUMN * 0.76 - 36, aside))
        places = [DOUBLE_COLUMN * share for share in (0.17, 0.5, 0.83)]
        # a line halfway between both rows of boxes, from which an arrow leads to each split
        level = tops[2] - heights[2] - _GAP / 2
        axes.plot([middle, middle], [tops[2] - heights[2], level], color=GREY, lw=0.8)
        axes.plot([places[0], places[-1]], [level, level], color=GREY, lw=0.8)
        for box, place in zip(flow.splits, places, strict=True):
            _draw_arrow(axes, (place, level), (place, tops[3]))
            _draw_box(axes, box, place, tops[3], wide=44)

    alt = (
        f"{count(flow.read.images, 'image')} were read, {flow.excluded.images:,} were left out, and "
        + ", ".join(f"{box.images:,} are in {box.lines[0].lower()}" for box in flow.splits)
    )
    texts = [line for box in (flow.read, flow.excluded, flow.included, *flow.splits) for line in box.lines]
    with style(texts, MIN_POINTS + 1):
        return save(
            "flow",
            "Flow of images and patients",
            alt,
            (DOUBLE_COLUMN, height),
            fill,
            is_wide=True,
            is_laid_out=True,
        )


def _height(box: Box) -> float:
    return _LINE * len(box.lines) + _PAD


def _draw_box(axes: "Axes", box: Box, middle: float, top: float, wide: float = 60) -> None:
    from matplotlib.patches import Rectangle

    height = _height(box)
    axes.add_patch(
        Rectangle((middle - wide / 2, top - height), wide, height, fill=False, edgecolor=GREY, lw=0.8)
    )
    for number, line in enumerate(box.lines):
        y = top - _PAD / 2 - _LINE * (number + 0.5)
        axes.text(middle, y, line, ha="center", va="center", color=BLACK)


def _draw_arrow(axes: "Axes", start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": GREY,
            "lw": 0.8,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 7,
        },
    )
