import cv2
import numpy as np
import pytest

from cxr.arrays import Float32
from cxr.explain import localise
from cxr.images.box import Box

RNG = np.random.default_rng(0)
BOX = Box(2, 1, 4, 3)
MASK = localise.draw_mask([BOX], (8, 10))


def blob(row: int, column: int, shape: tuple[int, int] = (8, 10), width: float = 1.5) -> Float32:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray(np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2)), np.float32)


def test_a_mask_holds_the_pixels_of_its_boxes() -> None:
    assert MASK.sum() == 12 and MASK[1:4, 2:6].all()
    assert localise.draw_mask([BOX, Box(3, 2, 4, 3)], (8, 10)).sum() == 18


@pytest.mark.parametrize(("row", "column", "hit"), [(1, 2, 1), (3, 5, 1), (4, 5, 0), (1, 6, 0), (0, 3, 0)])
def test_the_pointing_game_asks_for_the_largest_value(row: int, column: int, hit: float) -> None:
    values = blob(row, column)
    assert localise.score_pointing(values, MASK) == localise.score_hit(values, MASK) == hit


def test_a_constant_map_points_by_chance() -> None:
    constant = np.full((8, 10), 0.3, np.float32)
    assert localise.score_pointing(constant, MASK) == pytest.approx(12 / 80)
    assert localise.score_hit(constant, MASK) == 0  # CheXlocalize takes the first pixel
    assert not localise.to_mask(localise.to_levels(constant)).any()
    assert localise.score_iou(localise.to_mask(localise.to_levels(constant)), MASK) == 0
    assert localise.draw_boxes(localise.to_levels(constant)) == [Box(0, 0, 10, 8)]


def test_mass_is_the_share_of_positive_values_inside() -> None:
    values = RNG.normal(size=(8, 10)).astype(np.float32)
    inside = sum(max(values[row, column], 0) for row in range(1, 4) for column in range(2, 6))
    total = sum(max(float(value), 0) for value in values.ravel())
    assert localise.score_mass(values, MASK) == pytest.approx(inside / total)
    assert localise.score_mass(-np.ones((8, 10), np.float32), MASK) == 0


def otsu(levels: np.ndarray) -> int:
    """The level that separates two classes with the largest variance between them, tried one by one."""
    best, chosen = -1.0, 0
    for level in range(255):
        low, high = levels[levels <= level], levels[levels > level]
        if len(low) and len(high):
            between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
            if between > best * (1 + 1e-9):
                best, chosen = between, level
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_the_mask_of_a_map_is_otsus_in_256_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = (blob(3, 4) * rng.uniform(1, 5) + 0.2 * rng.random((8, 10)) - 1).astype(np.float32)
    shifted = values - values.min()
    levels = np.floor(255 * (shifted / shifted.max())).astype(int)
    np.testing.assert_array_equal(localise.to_mask(localise.to_levels(values)), levels > otsu(levels))


def test_iou_is_that_of_the_definition_on_hand_made_masks() -> None:
    first, second = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    first[:2], second[1:3, :2] = True, True
    assert localise.score_iou(first, second) == 2 / 10
    assert localise.score_iou(first, first) == 1
    assert localise.score_iou(np.zeros((4, 4), bool), np.zeros((4, 4), bool)) == 0
    for _ in range(20):
        a, b = RNG.random((2, 6, 6)) < 0.4
        both = {(r, c) for r, c in np.argwhere(a)} & {(r, c) for r, c in np.argwhere(b)}
        either = {(r, c) for r, c in np.argwhere(a)} | {(r, c) for r, c in np.argwhere(b)}
        assert localise.score_iou(a, b) == pytest.approx(len(both) / len(either))


def test_overlaps_of_boxes_are_those_of_their_masks() -> None:
    for _ in range(50):
        one, other = (Box(*RNG.integers(0, 6, 2), *RNG.integers(1, 6, 2)) for _ in range(2))
        a, b = localise.draw_mask([one], (12, 12)), localise.draw_mask([other], (12, 12))
        expected = (a & b).sum() / (a | b).sum(), (a & b).sum() / a.sum()
        assert localise.overlap(one, other) == pytest.approx(expected)


def test_boxes_are_drawn_around_islands_at_both_levels() -> None:
    values = np.zeros((20, 30), np.float32)
    values[2:5, 3:9] = 100  # above 60 alone
    values[10:16, 12:20] = 100
    values[11:13, 14:17] = 255
    expected = {Box(3, 2, 6, 3), Box(12, 10, 8, 6), Box(14, 11, 3, 2)}
    assert set(localise.draw_boxes(localise.to_levels(values))) == expected
    assert localise.best_overlaps([*expected], [Box(3, 2, 6, 3), Box(25, 0, 2, 2)]) == [(1, 1), (0, 0)]
    assert localise.count_false([*expected], [Box(3, 2, 6, 3)]) == 2
    assert localise.best_overlaps([], [BOX]) == [(0, 0)]


def test_islands_that_touch_at_a_corner_are_one() -> None:
    values = np.zeros((6, 6), np.float32)
    values[0:2, 0:2] = values[2:4, 2:4] = 1
    assert localise.draw_boxes(localise.to_levels(values)) == [Box(0, 0, 4, 4)]
    num, _ = cv2.connectedComponents(values.astype(np.uint8), connectivity=8)
    assert num == 2


def test_an_island_in_a_hole_of_another_is_one_too() -> None:
    mask = np.zeros((9, 9), np.bool_)
    mask[:8, :8], mask[1:7, 1:7], mask[3:5, 3:6] = True, False, True
    assert set(localise.find_islands(mask)) == {Box(0, 0, 8, 8), Box(3, 3, 3, 2)}
    assert localise.find_islands(np.zeros((4, 4), np.bool_)) == []


def test_islands_are_those_of_connected_components() -> None:
    for _ in range(20):
        mask = RNG.random((40, 30)) < 0.3
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        expected = sorted(tuple(map(int, row[:4])) for row in stats[1:])  # the first is what is no island
        assert sorted(localise.find_islands(mask)) == expected
