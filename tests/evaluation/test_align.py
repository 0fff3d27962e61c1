from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from cxr.errors import CxrError
from cxr.evaluation.align import align, average
from cxr.evaluation.predictions import Predictions

Draw = Callable[..., Predictions]


def test_common_images_and_findings_are_kept_in_the_order_of_names(draw: Draw) -> None:
    first = draw(20)
    second = first.select(np.arange(19, 4, -1))
    second = Predictions(second.rows, ("Hernia", "Mass"), second.y[:, [2, 0]], second.p[:, [2, 0]] / 2)
    (a, b), notes = align([("A", first), ("B", second)])
    assert list(a.rows["image"]) == list(b.rows["image"]) == list(first.rows["image"][5:])
    assert a.findings == b.findings == ("Mass", "Hernia")
    np.testing.assert_array_equal(b.p, a.p / 2)
    assert notes == [
        "5 images that only A predicts are left out",
        "findings that only A predicts are left out: Edema",
    ]


def test_nothing_in_common_is_an_error(draw: Draw) -> None:
    with pytest.raises(CxrError, match="A and B: no image in common"):
        align([("A", draw(5)), ("B", draw(5, split="val"))])
    with pytest.raises(CxrError, match="A and B: no finding in common"):
        align([("A", draw(5, ("Mass",))), ("B", draw(5, ("Edema",)))])


def test_other_labels_of_an_image_are_an_error(draw: Draw) -> None:
    first = draw(20)
    y = first.y.copy()
    y[[3, 7], 1] = np.where(np.isnan(y[[3, 7], 1]), 1, np.nan)
    with pytest.raises(CxrError) as error:
        align([("A", first), ("B", replace(first, y=y))])
    assert error.value.render() == (
        "error: A and B: 2 images have other labels in one than in the other, the first test_0003.png for Edema\n"
        "hint: give CSV files one table with --labels FILE, runs the same data.uncertain and data.blank"
    )


def test_other_patients_of_an_image_are_an_error(draw: Draw) -> None:
    first = draw(6)
    with pytest.raises(CxrError, match=r"3 images have another patient_id, the first test_0003.png"):
        align([("A", first), ("B", replace(first, rows=first.rows.assign(patient_id="test_0000")))])


def test_images_that_one_calls_training_and_the_other_test_are_an_error(draw: Draw) -> None:
    first = draw(6)
    second = replace(first, rows=first.rows.assign(split=["train"] * 4 + [""] * 2))
    with pytest.raises(
        CxrError, match=r"4 images are in another split, the first test_0000.png: test and train"
    ):
        align([("A", first), ("B", second)])


def test_a_split_that_one_model_leaves_open_is_the_others(draw: Draw) -> None:
    first = draw(6)
    models = [
        replace(first, rows=first.rows.assign(split=split)) for split in ("", ["train"] * 4 + [""] * 2, "")
    ]
    joined, _ = average([(f"{n}", own) for n, own in enumerate(models)], "probabilities")
    assert joined.rows["split"].tolist() == ["train"] * 4 + [""] * 2


def test_an_ensemble_is_the_mean(draw: Draw) -> None:
    first = draw(30)
    second = replace(first, p=np.sqrt(first.p)).select(np.arange(29, -1, -1))
    joined, _ = average([("A", first), ("B", second)], "probabilities")
    np.testing.assert_allclose(joined.p, (first.p + np.sqrt(first.p)) / 2, rtol=1e-14)
    logits, _ = average([("A", first), ("B", second)], "logits")
    inside = (first.p > 0) & (first.p < 1)
    expected = expit((logit(first.p[inside]) + logit(np.sqrt(first.p[inside]))) / 2)
    np.testing.assert_allclose(logits.p[inside], expected, rtol=1e-12)


@pytest.mark.parametrize("how", ["probabilities", "logits"])
def test_an_ensemble_of_one_model_thrice_is_the_model(draw: Draw, how: str) -> None:
    first = draw(30)
    joined, notes = average([("A", first)] * 3, how)  # type: ignore[arg-type]
    np.testing.assert_allclose(joined.p, first.p, atol=1e-11)
    np.testing.assert_array_equal(joined.y, first.y)
    assert notes == []
