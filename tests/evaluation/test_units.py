from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.units import combine

Draw = Callable[..., Predictions]


@pytest.mark.parametrize("how", ["max", "mean"])
def test_the_auroc_of_studies_is_that_of_their_images_grouped_by_pandas(draw: Draw, how: str) -> None:
    predictions = draw(60, ("Mass",))
    study = np.arange(60) // 3
    predictions.rows["study_id"] = [f"s{one}" for one in study]
    combined = combine(predictions, "study", how)  # type: ignore[arg-type]
    p = pd.Series(predictions.p[:, 0]).groupby(study).agg(how)
    y = pd.Series(predictions.y[:, 0]).groupby(study).max()
    assert len(combined) == 20
    assert roc_auc_score(combined.y[:, 0], combined.p[:, 0]) == roc_auc_score(y, p)


def test_chexperts_paths_tell_the_study_and_unknown_ones_are_an_error(draw: Draw) -> None:
    predictions = draw(4, ("Mass",))
    predictions.rows["image"] = [f"valid/patient1/study{n // 2}/view{n}.jpg" for n in range(4)]
    assert combine(predictions, "study", "max").rows["image"].tolist() == [
        "valid/patient1/study0", "valid/patient1/study1",
    ]  # fmt: skip
    predictions.rows.loc[2, "image"] = "x.jpg"
    with pytest.raises(CxrError, match=r"eval\.unit=study: 1 image names no study, the first x\.jpg"):
        combine(predictions, "study", "max")


def test_patients_with_different_labels_are_positive_and_counted(draw: Draw) -> None:
    predictions = draw(4, ("Mass",))
    predictions.rows["patient_id"] = ["1", "1", "2", "2"]
    predictions.y[:, 0] = [1, 0, 0, np.nan]
    combined = combine(predictions, "patient", "max")
    assert combined.y[:, 0].tolist() == [1, 0]
    assert combined.notes[1] == "1 have images with different labels and count as positive"


def test_a_study_that_several_patients_have_is_one_of_each(draw: Draw) -> None:
    predictions = draw(60, ("Mass",))
    visit = np.arange(60) % 2
    predictions.rows["study_id"] = visit.astype(str)
    combined = combine(predictions, "study", "mean")
    grouped = (
        pd.Series(predictions.p[:, 0]).groupby([predictions.rows["patient_id"].to_numpy(), visit]).mean()
    )
    assert sorted(combined.p[:, 0]) == sorted(grouped) and combined.rows["image"].is_unique
    predictions.rows.loc[0, "patient_id"] = ""  # nobody can say whose it is
    assert len(combine(predictions, "study", "mean")) == len(combined) + 1
