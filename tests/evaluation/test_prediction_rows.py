import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.predictions import read
from cxr.evaluation.units import combine


@pytest.mark.parametrize(
    ("column", "here", "before", "kind"),
    [("split", "Test", "train", "split"), ("split", "", "test", "split"), ("Set", "train", "TEST", "split"),
     ("patient_id", "P2", "P1", "patient"), ("exam", "s2", "s1", "study")],
)  # fmt: skip
def test_rows_of_an_image_that_differ_in_split_patient_or_study_are_refused_in_any_order(
    tmp_path: Path, column: str, here: str, before: str, kind: str
) -> None:
    for first, second in itertools.permutations((before, here)):
        rows = [f"a,0.5,1,{first}", f"b,0.5,1,{first}", f"a,0.5,1,{second}"]
        (tmp_path / "p.csv").write_text("\n".join([f"image,p_Mass,y_Mass,{column}", *rows]) + "\n")
        with pytest.raises(CxrError, match=rf"p\.csv:4: image a has the {kind} .* here and .* on line 2"):
            read(tmp_path / "p.csv")


def test_equal_rows_of_an_image_are_one_and_that_is_said(tmp_path: Path) -> None:
    rows = ["a,0.5,1,Train,PA", "a,0.5,1,training,AP", "b,0.1,0,train,PA"]
    (tmp_path / "p.csv").write_text("\n".join(["image,p_Mass,y_Mass,split,view", *rows]) + "\n")
    predictions = read(tmp_path / "p.csv")
    assert predictions.rows["image"].tolist() == ["a", "b"]
    note = "2 images on 3 rows: equal rows of an image count as one; "
    note += "rows of an image differ in view: the first is kept"
    assert predictions.notes == (note,)


def visits(folder: Path) -> tuple[pd.DataFrame, Path]:
    """Predictions of 80 images of 20 patients, whose studies are counted 1 and 2 within each patient."""
    draws = np.random.default_rng(5)
    rows = np.arange(80)
    frame = pd.DataFrame({"image": [f"i{row}" for row in rows], "PatientID": [f"P{row // 4}" for row in rows],
                          "Study ID": 1 + rows % 4 // 2, "p_Edema": draws.random(80).round(3)})  # fmt: skip
    frame.to_csv(folder / "p.csv", index=False)
    return frame, folder / "p.csv"


@pytest.mark.parametrize("by_visit", [True, False])
def test_labels_of_studies_are_joined_by_patient_and_study_as_pandas_merges_them(
    tmp_path: Path, by_visit: bool
) -> None:
    frame, path = visits(tmp_path)
    if not by_visit:
        frame["Study ID"] = [f"s{row // 2}" for row in range(80)]
        frame.to_csv(path, index=False)
    keys = ["PatientID", "Study ID"]
    studies = frame[keys].drop_duplicates().assign(Edema=np.random.default_rng(1).integers(0, 2, 40))
    labels = studies.sample(frac=1, random_state=0) if by_visit else studies.drop(columns="PatientID")
    labels.rename(columns={"Study ID": "AccessionNumber"}).to_csv(tmp_path / "l.csv", index=False)
    predictions = read(path, tmp_path / "l.csv")
    merged = frame.merge(studies, on=keys)
    assert predictions.y[:, 0].tolist() == merged["Edema"].tolist()
    combined = combine(predictions, "study", "max")
    grouped = merged.groupby(keys)[["Edema", "p_Edema"]].max()
    assert len(combined) == len(grouped) == 40 and combined.rows["image"].is_unique
    assert roc_auc_score(combined.y[:, 0], combined.p[:, 0]) == roc_auc_score(
        grouped["Edema"], grouped["p_Edema"]
    )


def test_labels_of_patients_are_joined_to_their_images(tmp_path: Path) -> None:
    frame, path = visits(tmp_path)
    patients = pd.DataFrame(
        {"subject_id": [f"P{n}" for n in range(19, -1, -1)], "Edema": [n % 2 for n in range(20)]}
    )
    patients.to_csv(tmp_path / "l.csv", index=False)
    merged = frame.merge(patients, left_on="PatientID", right_on="subject_id")
    assert read(path, tmp_path / "l.csv").y[:, 0].tolist() == merged["Edema"].tolist()


@pytest.mark.parametrize("how", ["any", "all", "majority"])
def test_doubled_labels_are_joined_by_the_rule_that_is_asked_for(tmp_path: Path, how: str) -> None:
    (tmp_path / "l.csv").write_text("image,Mass\na,1\na,0\na,0\nb,1\n")
    (tmp_path / "p.csv").write_text("image,p_Mass\na,0.5\nb,0.5\n")
    with pytest.raises(CxrError) as error:
        read(tmp_path / "p.csv", tmp_path / "l.csv")
    assert "data.duplicates=any, all or majority joins" in error.value.hint
    predictions = read(tmp_path / "p.csv", tmp_path / "l.csv", options=LabelOptions(duplicates=how))  # type: ignore[arg-type]
    assert predictions.y[:, 0].tolist() == [1 if how == "any" else 0, 1]
    assert f"joined by data.duplicates={how}" in predictions.notes[0]


@pytest.mark.parametrize(("header", "cells", "hint"), [("image,Mass", "a,0.7", "round what lies between, or delete it"),
                                                       ("image,label", "a,Mass", "--label-column")])  # fmt: skip
def test_hints_on_a_table_of_labels_can_be_followed(
    tmp_path: Path, header: str, cells: str, hint: str
) -> None:
    (tmp_path / "l.csv").write_text(f"{header}\n{cells}\n")
    (tmp_path / "p.csv").write_text("image,p_Mass\na,0.5\n")
    with pytest.raises(CxrError) as error:
        read(tmp_path / "p.csv", tmp_path / "l.csv")
    assert hint in error.value.hint and not re.search(r"data\.(?!dup)", error.value.hint)
