"""The most confident right and wrong calls of an evaluation, as contact sheets on its page."""

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from cxr.arrays import Float32
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.thresholds import Thresholds
from cxr.explain.examples import KINDS, SIDE, draw_pair, encode_jpeg
from cxr.explain.maps import compute_maps
from cxr.explain.panel import Panel, shrink
from cxr.explain.scale import LEAST_TOP
from cxr.images.box import Box
from cxr.images.grey import Grey
from cxr.model.candidate import Candidate
from cxr.model.predict import autocast_dtype
from cxr.report.document import Gallery, Part, Section, Text, Thumbnail

_MAX_FINDINGS = 20
"""Findings with pictures, those with the most positive images: a page must stay small."""
_BATCH = 32
_READING = (
    "Images with the highest probability where the finding is called (true and false positives), with the "
    "lowest where it is missed (false negatives), by the label. The label may be wrong. Images have the size "
    "at which they are stored, as the model sees them."
)
_MAPS = (
    "Left: the radiograph; right: the class activation map (Zhou et al. 2016), coloured where the finding is "
    "called, with a contour at half of the scale where it is not. The scale ends at the map's largest value, "
    f"which the caption states, and not below {LEAST_TOP:g} logit: a map of almost nothing has almost no "
    "colour. A map shows what the model used, not where the finding is."
)
_PRIVATE = (
    "This page shows images and their names, so its owner alone may read it; --examples 0 leaves them out."
)

Chosen = dict[tuple[int, str], list[int]]
"""By number of the finding and kind: rows of the predictions, the most confident first."""


def draw_contact_sheets(
    candidates: Sequence[Candidate], predictions: Predictions, thresholds: Thresholds, split: str, num: int
) -> tuple[Part, ...]:
    """For each finding its examples, the first one open; nothing where rows are no images of the dataset.

    Pixels come from the store. A single model has its maps beside them; an ensemble has none.

    Args:
        candidates: The models.
        predictions: Of all of them together.
        thresholds: Of the same.
        split: Which of the dataset's rows these are.
        num: Images of each finding and kind, at most.
    """
    first = candidates[0]
    rows = _find_rows(first, predictions, split)
    if rows is None or not num:
        return ()
    chosen = choose_examples(predictions, np.array(thresholds.values), num)
    # an image may be an example of several findings: its map is computed once, for all of them
    wanted = sorted({row for each in chosen.values() for row in each})
    # prediction -> row of the dataset -> row of the store
    squares = {row: first.dataset.store.pixels[int(first.dataset.index[rows[row]])] for row in wanted}
    maps = _compute(first, squares, wanted) if len(candidates) == 1 else {}
    sections: list[Part] = []
    for number, finding in enumerate(predictions.findings):
        parts: list[Part] = []
        for kind in KINDS:
            thumbnails = tuple(
                _make_thumbnail(
                    predictions, thresholds, number, row, squares[row], maps.get(row), kind != KINDS[2]
                )
                for row in chosen.get((number, kind), ())
            )
            if thumbnails:
                gallery = Gallery(f"{finding}: {kind}", thumbnails, is_wide=bool(maps))
                parts += [Text("", label=kind), gallery]
        if parts:
            sections.append(Section(finding, tuple(parts), is_folded=True, is_open=not sections))
    if not sections:
        return ()
    return (Text(_READING + (f" {_MAPS}" if maps else ""), "soft"), Text(_PRIVATE, "soft"), *sections)


def choose_examples(predictions: Predictions, thresholds: npt.NDArray[np.float64], num: int) -> Chosen:
    """The most confident rows of each finding and kind, for thresholds [C]; equal ones in their order."""
    y, p = predictions.y, predictions.p
    chosen: Chosen = {}
    # [C] or fewer: the findings with the most positive images, then back in their order
    frequent = np.argsort(-np.nansum(y, axis=0), kind="stable")[:_MAX_FINDINGS]
    for c in sorted(int(number) for number in frequent):
        is_called = p[:, c] >= thresholds[c]
        masks = ((y[:, c] == 1) & is_called, (y[:, c] == 0) & is_called, (y[:, c] == 1) & ~is_called)
        # the most confident first: highest probability where it is called, lowest where it is missed
        for kind, mask, sign in zip(KINDS, masks, (-1, -1, 1), strict=True):
            rows = np.flatnonzero(mask)
            order = np.argsort(sign * p[rows, c], kind="stable")[:num]
            chosen[c, kind] = [int(row) for row in rows[order]]
    return chosen


def _find_rows(candidate: Candidate, predictions: Predictions, split: str) -> npt.NDArray[np.int64] | None:
    """[N] the dataset's row of each prediction; None where studies or patients were evaluated."""
    if candidate.config.eval.unit != "image":
        return None
    rows = candidate.dataset.rows(split)
    names = candidate.dataset.table.rows["image"].iloc[rows].astype(str).tolist()
    images = predictions.rows["image"].astype(str).tolist()
    if names == images:
        return rows
    by_name = dict(zip(names, rows, strict=True))
    # two images of one name, or a row that is no image of the dataset: no picture is better than a wrong one
    if len(by_name) < len(names) or not set(images) <= by_name.keys():
        return None
    return np.array([by_name[image] for image in images], np.int64)


def _compute(candidate: Candidate, squares: dict[int, Grey], wanted: Sequence[int]) -> dict[int, Float32]:
    """The maps [C, h, w] of each wanted row."""
    device = candidate.pixels.device
    dtype = autocast_dtype(candidate.config.train.precision, device)
    maps: dict[int, Float32] = {}
    for start in range(0, len(wanted), _BATCH):
        rows = wanted[start : start + _BATCH]
        batch = torch.from_numpy(np.stack([squares[row] for row in rows])).to(device)
        found = compute_maps(
            candidate.checkpoint.classifier, batch, candidate.config.image.size, "cam", dtype
        )
        maps |= dict(zip(rows, found, strict=True))
    return maps


def _make_thumbnail(
    predictions: Predictions,
    thresholds: Thresholds,
    number: int,
    row: int,
    square: Grey,
    maps: Float32 | None,
    is_called: bool,
) -> Thumbnail:
    """One image [S, S], beside its map where there is one."""
    size = square.shape[0]
    whole = Box(0, 0, size, size)
    panel = shrink(Panel(np.asarray(square, np.uint8), whole, whole, "squash"), SIDE)
    caption = f"probability {predictions.p[row, number]:.3f}, threshold {thresholds.values[number]:.3f}"
    if maps is None:
        drawn = np.asarray(cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR), np.uint8)
    else:
        drawn, largest = draw_pair(panel, maps[number], (), panel.grey.shape, is_called, "cam")
        caption += f", {largest}"
    name = str(predictions.rows["image"].iloc[row])
    return Thumbnail(encode_jpeg(drawn), name, caption)
