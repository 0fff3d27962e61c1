"""Overlays: a radiograph beside itself with the map of a finding, a bar with numbers, and what it means.

Evidence for a finding that is called is coloured, on one scale for all findings of the image. A finding that
is not called has no colour: contours show where its map is high.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cxr.arrays import Float32
from cxr.evaluation.thresholds import MIN_POSITIVE, Thresholds, origin
from cxr.explain.contour import draw_contour, number_contour
from cxr.explain.figure import compose
from cxr.explain.lettering import LIGHT, Colour
from cxr.explain.panel import Panel
from cxr.explain.scale import Scale
from cxr.text import DISCLAIMER

_FRAME = "The model saw the part in the dashed frame alone."
_UNLIT = (
    "The probability comes from the finding's bias, so how frequent it was in training, "
    "more than from a place."
)
_READING = (
    "A map shows what the model used. It does not show that the model is right, nor where a disease ends."
)


@dataclass(frozen=True)
class Shown:
    """A finding of an image: its name, probability, threshold and map [h, w] of the model's square."""

    finding: str
    probability: float
    threshold: float
    cells: Float32
    logit_shift: float = 0.0
    """Added to the logit for the probability, to undo class weights of the training."""

    @property
    def is_called(self) -> bool:
        """Whether its probability reaches its threshold."""
        return self.probability >= self.threshold

    def describe(self) -> str:
        """As `Mass 0.810, called (threshold 0.302)`."""
        return f"{self.finding} {self.probability:.3f}, {self._called} (threshold {self.threshold:.3f})"

    def head_tile(self, mark: str) -> str:
        """Two lines above a tile of a sheet; `mark` follows the threshold."""
        return f"{self.finding} {self.probability:.3f}\n{self._called} (threshold {self.threshold:.3f}{mark})"

    @property
    def _called(self) -> str:
        return "called" if self.is_called else "NOT CALLED"


@dataclass(frozen=True)
class Source:
    """What a caption says of where a map comes from, and a warning about the image, or nothing."""

    image: str
    run: str
    thresholds: Thresholds
    warning: str = ""

    def mark(self, finding: str) -> str:
        """A star where a threshold was chosen on few positive images, a cross where none could be chosen."""
        if finding in self.thresholds.few_positives:
            return "*"
        return "\u2020" if finding in self.thresholds.fallback else ""

    def explain_marks(self, findings: Sequence[str]) -> list[str]:
        """What the marks of these findings mean."""
        used = {self.mark(finding) for finding in findings}
        few = f"* chosen on fewer than {MIN_POSITIVE} positive images: an uncertain threshold."
        none = "\u2020 set to this value, as these rows allowed no choice."
        return [text for mark, text in (("*", few), ("\u2020", none)) if mark in used]


def draw_overlay(panel: Panel, shown: Shown, scale: Scale, source: Source) -> Colour:
    """The figure of one finding: BGR [H, W, 3]."""
    # [H, W] in the pixels that are drawn
    values = panel.lay(shown.cells)
    tiles = [("Radiograph", _plain(panel)), (shown.describe(), _with_map(panel, values, shown, scale))]
    lines = [*_warn(source), *_describe_map(shown, scale, values), *_describe_source(shown, source)]
    if not panel.is_whole:
        lines.append(_FRAME)
    return compose(tiles, 2, scale, {shown.is_called}, shown.describe(), lines)


def draw_sheet(panel: Panel, findings: Sequence[Shown], scale: Scale, source: Source) -> Colour:
    """The radiograph and each finding side by side on the same scale: BGR [H, W, 3]."""
    tiles = [("Radiograph", _plain(panel))]
    unlit = []  # called, and nothing to see
    for shown in findings:
        values = panel.lay(shown.cells)
        tiles.append((shown.head_tile(source.mark(shown.finding)), _with_map(panel, values, shown, scale)))
        if shown.is_called and not scale.shows(values):
            unlit.append(shown.finding)
    ticks = ", ".join(f"{tick:g}" for tick in scale.ticks)
    names = [shown.finding for shown in findings]
    lines = [
        *_warn(source),
        f"Colour: contribution to the logit of a finding that is called, by {_describe_cells(findings)}; one "
        f"scale for all findings. Contours at {ticks}: findings that are not called. {_READING}",
        *([f"Called without a place to colour: {', '.join(unlit)}. {_UNLIT}"] if unlit else []),
        " ".join([f"Thresholds: {origin(source.thresholds)}.", *source.explain_marks(names)]),
        f"Image {source.image}; run {source.run}. {DISCLAIMER}",
    ]
    if not panel.is_whole:
        lines.append(_FRAME)
    num_columns = min(len(tiles), 2 if len(tiles) <= 4 else 4 if len(tiles) <= 12 else 5)
    kinds = {shown.is_called for shown in findings}
    return compose(tiles, num_columns, scale, kinds, "All maps of one image on one scale", lines)


def _warn(source: Source) -> list[str]:
    """The warning about the image as a line, where there is one."""
    return [f"WARNING: {source.warning}."] if source.warning else []


def _describe_cells(findings: Sequence[Shown]) -> str:
    """As `CAM of 7 x 7 cells`."""
    height, width = findings[0].cells.shape if findings else (0, 0)
    return f"CAM of {width} x {height} cells" if findings else "CAM"


def _plain(panel: Panel) -> Colour:
    return np.asarray(cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _with_map(panel: Panel, values: Float32, shown: Shown, scale: Scale) -> Colour:
    """The radiograph with the colours of a called finding, or with contours of another."""
    if shown.is_called:
        drawn = scale.paint(panel.grey, values)
    else:
        drawn = _plain(panel)
        # numbers last, so that no line runs through one
        lines = [(f"{level:g}", draw_contour(drawn, values, level, panel.seen, 2)) for level in scale.ticks]
        for number, points in lines:
            if len(points):
                number_contour(drawn, points, number)
    if not panel.is_whole:
        _draw_frame(drawn, panel)
    return drawn


def _draw_frame(drawn: Colour, panel: Panel) -> None:
    """A dashed frame around what the model saw."""
    left, top, width, height = panel.seen
    for start in range(0, max(width, height), 16):
        along = (
            slice(left + start, left + min(start + 8, width)),
            slice(top + start, top + min(start + 8, height)),
        )
        for y in (top, top + height - 1):
            drawn[y, along[0]] = LIGHT
        for x in (left, left + width - 1):
            drawn[along[1], x] = LIGHT


def _describe_map(shown: Shown, scale: Scale, values: Float32) -> list[str]:
    """What is drawn, in words."""
    mean, largest = float(shown.cells.mean()), float(values.max())
    shift = round(shown.logit_shift, 2)
    method = (
        f"Method: {_describe_cells([shown])} (class activation map, Zhou et al. 2016), exact for this model: "
        f"the mean of the cells ({mean:+.2f}) and the finding's bias make its logit"
        f"{f', before {shift:+.2f} is added to undo class weights' if shift else ''}."
    )
    if shown.is_called and not scale.shows(values):
        most = f"the largest contribution at any place is {largest:+.2f}"
        what = f"Called, and no colour is seen: {most}. {_UNLIT}"
    elif shown.is_called:
        what = (
            "Colour: contribution to the logit, on one scale for all findings of this image. "
            "Only what speaks for the finding is coloured."
        )
    elif largest >= scale.ticks[0]:
        levels = ", ".join(f"{tick:g}" for tick in scale.ticks if tick <= largest)
        what = (
            f"Not called, so not coloured. Contours: contribution to the logit of {levels}, "
            "on the scale of all findings of this image."
        )
    else:
        what = f"Not called, so not coloured. No place contributes {scale.ticks[0]:g} or more to the logit."
    return [what, method]


def _describe_source(shown: Shown, source: Source) -> list[str]:
    thresholds = source.thresholds
    threshold = f"Threshold {shown.threshold:.3f}: {origin(thresholds)}"
    place = thresholds.findings.index(shown.finding)
    if shown.finding in thresholds.fallback:
        threshold += "; set to this value, as these rows allowed no choice"
    elif thresholds.num_positive:
        num = thresholds.num_positive[place]
        threshold += f"; {num:,} of these images {'is' if num == 1 else 'are'} positive for this finding"
    return [f"{threshold}.", _READING, f"Image {source.image}; run {source.run}. {DISCLAIMER}"]
