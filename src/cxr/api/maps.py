"""Maps and masks as arrays -> a table of scores, whoever made the maps; no torch is imported."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt
import pandas as pd

from cxr.arrays import Bool, Float32
from cxr.errors import CxrError
from cxr.explain import localise
from cxr.explain.masks import read_mask

_COLUMNS = ("pointing", "hit", "iou", "mass", "area")
Mask = npt.ArrayLike | Mapping[str, object]
"""[H, W] of 0 and 1, or COCO's compressed form `{"size": [H, W], "counts": text}`."""


def score_maps(
    maps: Sequence[npt.ArrayLike], masks: Sequence[Mask], findings: Sequence[str] | None = None
) -> pd.DataFrame:
    """How well heat maps find what is marked: the scores of `cxr explain`, a row per map.

    A map of another size than its mask is resized to it, bilinear, as CheXlocalize does. A constant map
    points nowhere: its scores are those of chance, the marked share of the image.

    Args:
        maps: Each [h, w], larger where the model used more.
        masks: The true masks of the same findings and images, in the same order.
        findings: A name for each, for the column `finding`.

    Returns:
        Columns `finding` (where names are given), `pointing` (Zhang et al. 2018), `hit` and `iou` (Saporta
        et al. 2022, CheXlocalize: the mask of a map is what is above Otsu's threshold in 256 levels), `mass`
        (share of positive values inside) and `area` (marked share of the image, which is chance). A row is
        nan where no pixel is marked. `table["iou"].mean()` is the mIoU.

    Raises:
        CxrError: Other lengths, a map or mask that is none, all at once.

    Example:
        >>> import cxr, numpy as np
        >>> map, mask = np.zeros((8, 8)), np.zeros((64, 64), bool)
        >>> map[2:4, 2:4], mask[16:32, 16:32] = 1, True
        >>> cxr.score_maps([map], [mask]).loc[0, "hit"]
        np.float64(1.0)
    """
    for name, others in (("masks", masks), ("findings", findings)):
        if others is not None and len(others) != len(maps):
            raise CxrError(f"{name}: {len(others)}, and {len(maps)} maps", "give one of each, in one order")
    problems: list[str] = []
    rows: list[dict[str, float]] = []
    for number, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        try:
            rows.append(_score(_read_map(values), _read_mask(mask)))
        except ValueError as error:
            problems.append(f"number {number}: {error}")
    if problems:
        raise CxrError(problems, "a map is float [h, w]; a mask is bool [H, W], or size and counts of COCO")
    table = pd.DataFrame(rows, columns=list(_COLUMNS), dtype=float)
    if findings is not None:
        table.insert(0, "finding", list(findings))
    return table


def _read_map(values: npt.ArrayLike) -> Float32:
    """The map [h, w].

    Raises:
        ValueError: Another shape, no numbers, or some that are not finite.
    """
    try:
        read = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        raise ValueError("the map is no array of numbers") from None
    if read.ndim != 2 or not read.size:
        raise ValueError(f"the map has the shape {list(read.shape)}")
    if not np.isfinite(read).all():
        raise ValueError("the map has values that are no finite numbers")
    return read


def _read_mask(mask: Mask) -> Bool:
    """The mask [H, W].

    Raises:
        ValueError: Another shape, or other values than 0 and 1.
    """
    if isinstance(mask, Mapping):
        return read_mask(mask)
    read = np.asarray(mask)
    if read.ndim != 2 or not read.size:
        raise ValueError(f"the mask has the shape {list(read.shape)}")
    if read.dtype != np.bool_ and not np.isin(read, (0, 1)).all():
        raise ValueError("the mask has other values than 0 and 1")
    return read.astype(np.bool_)


def _score(values: Float32, mask: Bool) -> dict[str, float]:
    if not mask.any():
        return {}  # a row of nan
    if values.shape != mask.shape:
        height, width = mask.shape
        values = np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return localise.score_map(values, localise.to_levels(values), mask) | {"area": float(mask.mean())}
