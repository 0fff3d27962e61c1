from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

import cxr
from cxr.explain import localise
from tests.explain.test_masks import entry

RNG = np.random.default_rng(3)


def published_iou(values: np.ndarray, mask: np.ndarray) -> float:
    """mIoU's part of one image, step by step as Saporta et al. 2022 state it, with Otsu's rule written out."""
    resized = interpolate(
        torch.from_numpy(values)[None, None].float(), mask.shape, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    levels = np.uint8(255 * (resized - resized.min()) / np.ptp(resized))
    counts = np.bincount(levels.ravel(), minlength=256).astype(float)
    between = np.zeros(256)
    for cut in range(255):  # variance between those at or below the cut and the others
        low, high = counts[: cut + 1].sum(), counts[cut + 1 :].sum()
        if low and high:
            means = (
                (counts[: cut + 1] * np.arange(cut + 1)).sum() / low,
                (counts[cut + 1 :] * np.arange(cut + 1, 256)).sum() / high,
            )
            between[cut] = low * high * (means[1] - means[0]) ** 2
    found = levels > between.argmax()
    return float((found & mask).sum() / (found | mask).sum())


def test_scores_are_those_of_the_published_definitions() -> None:
    maps, masks = [], []
    for shape in [(64, 64), (50, 90), (33, 17)] * 4:
        maps.append(RNG.normal(size=(7, 7)))
        mask = np.zeros(shape, bool)
        mask[RNG.integers(0, 9) :, : RNG.integers(5, 17)] = True
        masks.append(mask)
    table = cxr.score_maps(maps, masks, ["Mass"] * 12)
    assert list(table.columns) == ["finding", "pointing", "hit", "iou", "mass", "area"]
    for row, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        assert table.loc[row, "iou"] == pytest.approx(published_iou(values, mask), abs=0.01)
        assert table.loc[row, "area"] == mask.mean()
    # a map of the mask's size is not resized: its largest pixel decides
    values = RNG.normal(size=(64, 64))
    (hit,) = cxr.score_maps([values], [masks[0]])["hit"]
    assert hit == masks[0][np.unravel_index(values.argmax(), values.shape)]


def test_masks_may_be_cocos_and_the_scores_are_those_of_explain() -> None:
    values = RNG.normal(size=(40, 60)).astype(np.float32)
    mask = RNG.random((40, 60)) < 0.3
    table = cxr.score_maps([values, values], [mask, entry(mask)])
    assert table.iloc[0].tolist() == table.iloc[1].tolist()
    assert table.loc[0, "mass"] == localise.score_mass(values, mask)
    assert table.loc[0, "pointing"] == localise.score_pointing(values, mask)


def test_a_constant_map_is_chance_and_an_empty_mask_is_left_out() -> None:
    mask = np.zeros((10, 10), np.uint8)
    mask[:5, :4] = 1
    table = cxr.score_maps([np.ones((2, 2)), np.eye(2)], [mask, np.zeros((10, 10))])
    assert (table.loc[0] == 0.2).all() and table.loc[1].isna().all()
    assert cxr.score_maps([], []).empty


def test_every_wrong_map_and_mask_is_named() -> None:
    good = np.eye(4)
    maps: list[Any] = [np.ones(4), np.full((2, 2), np.nan), [["a"]], good, good, good]
    masks: list[Any] = [good, good, good, good * 2, np.ones((0, 3)), {"size": [4, 4], "counts": "4"}]
    with pytest.raises(cxr.CxrError) as error:
        cxr.score_maps(maps, masks)
    assert list(error.value.problems) == [
        "number 0: the map has the shape [4]",
        "number 1: the map has values that are no finite numbers",
        "number 2: the map is no array of numbers",
        "number 3: the mask has other values than 0 and 1",
        "number 4: the mask has the shape [0, 3]",
        "number 5: counts hold 4 pixels, and its size is 4 x 4",
    ]
    with pytest.raises(cxr.CxrError, match="masks: 1, and 2 maps"):
        cxr.score_maps([good, good], [good])
