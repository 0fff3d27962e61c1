import numpy as np
import pytest

from cxr.evaluation.reader_points import height_at, operating_point, roc_curve


def test_a_curve_is_as_high_as_the_upper_end_of_its_steps() -> None:
    # three positive and four negative images; two of each class share the score 0.5
    y = np.array([1, 1, 1, 0, 0, 0, 0, np.nan])
    curve = roc_curve(y, np.array([0.9, 0.5, 0.1, 0.7, 0.5, 0.2, 0.05, 0.3]))
    assert curve is not None
    # the curve goes (0, 1/3), (1/4, 1/3), (1/2, 2/3) across the tie, (3/4, 2/3), (3/4, 1), (1, 1)
    heights = {0.0: 1 / 3, 0.25: 1 / 3, 0.375: 1 / 2, 0.5: 2 / 3, 0.75: 1.0, 1.0: 1.0}
    assert {rate: height_at(curve, rate) for rate in heights} == pytest.approx(heights)
    # 1 less a specificity of 0.9 is not 0.1, but one last digit below
    assert height_at((np.array([0, 0.1, 0.1, 1]), np.array([0, 0.2, 0.8, 1])), 1 - 0.9) == 0.8


def test_a_reader_on_the_curve_is_not_below_it() -> None:
    y = np.array([1.0, 1, 1, 0, 0, 0, 0])
    scores = np.array([0.9, 0.5, 0.1, 0.7, 0.5, 0.2, 0.05])
    curve = roc_curve(y, scores)
    assert curve is not None
    for threshold in np.unique(scores):  # a reader who calls as the model does lies on its curve
        rate, sensitivity = operating_point(y, (scores >= threshold).astype(np.float64))
        assert sensitivity == pytest.approx(height_at(curve, rate)) or rate in curve[0]


def test_one_class_has_no_curve_and_blank_calls_do_not_count() -> None:
    assert roc_curve(np.array([1.0, 1, np.nan]), np.array([0.1, 0.2, 0.3])) is None
    assert np.isnan(height_at((np.array([0.0, 1]), np.array([0.0, 1])), np.nan))
    assert operating_point(np.array([1, 1, 0, 0]), np.array([1, np.nan, 1, 0])) == (0.5, 1.0)
