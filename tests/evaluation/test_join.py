from pathlib import Path

import numpy as np
import pytest

from cxr.errors import CxrError
from cxr.evaluation.predictions import read
from cxr.labels.targets import Blank


def save(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, labels: Path) -> str:
    with pytest.raises(CxrError) as error:
        read(path, labels)
    return error.value.render().replace(f"{path.parent}/", "")


def test_nih_labels_are_joined_and_bring_patient_view_age_and_sex(tmp_path: Path) -> None:
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex,View Position"
    first, second = "00000001_000.png,Mass|Edema,0,1,58,M,PA", "00000002_000.png,No Finding,0,2,33,F,AP"
    labels = save(tmp_path / "Data_Entry_2017_v2020.csv", header, first, second)
    path = save(
        tmp_path / "p.csv",
        "Image Index,p_Mass,p_Hernia",
        "00000002_000.png,0.1,0.2",
        "00000001_000.png,0.8,0",
    )
    predictions = read(path, labels)
    assert predictions.y.tolist() == [[0, 0], [1, 0]]
    assert predictions.rows[["patient_id", "view", "sex", "age"]].to_numpy().tolist() == [
        ["2", "AP", "F", 33],
        ["1", "PA", "M", 58],
    ]


@pytest.mark.parametrize("blank, expected", [("negative", 0), ("masked", np.nan)])
def test_chexpert_labels_are_joined_below_the_leading_folder(
    tmp_path: Path, blank: Blank, expected: float
) -> None:
    names = [f"valid/patient0000{n}/study1/view1_frontal.jpg" for n in (1, 2, 3)]
    cells = zip(names, ("1.0", "-1.0", ""), strict=True)
    lines = [f"CheXpert-v1.0-small/{name},Female,60,Frontal,AP,{cell}" for name, cell in cells]
    labels = save(tmp_path / "valid.csv", "Path,Sex,Age,Frontal/Lateral,AP/PA,Edema", *lines)
    path = save(
        tmp_path / "p.csv", "Path,Edema", *(f"/data/CheXpert-v1.0/{name},0.5" for name in reversed(names))
    )
    predictions = read(path, labels, blank)
    np.testing.assert_equal(predictions.y, [[expected], [np.nan], [1]])
    assert predictions.rows["patient_id"].tolist() == ["patient00003", "patient00002", "patient00001"]


def test_plain_labels_are_joined_by_file_name_and_replace_y_columns(tmp_path: Path) -> None:
    labels = save(
        tmp_path / "labels.csv", "image,patient_id,Mass", "images_001/a.png,7,1", "images_002/b.png,8,0"
    )
    path = save(tmp_path / "p.csv", "image,p_Mass,y_Mass", "/elsewhere/images_002/b.png,0.5,1", "a.png,0.5,0")
    predictions = read(path, labels)
    assert predictions.y.tolist() == [[0], [1]]
    assert predictions.rows["patient_id"].tolist() == ["8", "7"]


def test_a_finding_that_is_not_labelled_is_unknown(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.csv", "image,Mass", "a.png,1")
    predictions = read(save(tmp_path / "p.csv", "image,p_Edema,p_Mass", "a.png,0.5,0.5"), labels)
    np.testing.assert_equal(predictions.y, [[np.nan, 1]])


def test_what_the_predictions_say_of_a_row_stays(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.csv", "image,patient_id,sex,Mass", "a.png,7,F,1")
    predictions = read(save(tmp_path / "p.csv", "image,patient_id,sex,p_Mass", "a.png,008,,0.5"), labels)
    assert predictions.rows[["patient_id", "sex"]].to_numpy().tolist() == [["008", "F"]]


def test_images_without_a_label_are_counted_beside_other_mistakes(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.csv", "image,Mass", "a.png,1")
    path = save(tmp_path / "p.csv", "image,p_Mass", "a.png,0.5", "b.png,3", "c.png,0.1")
    assert refusal(path, labels) == (
        "error: p.csv:3: p_Mass is 3, no probability\n"
        "error: p.csv: 2 of 3 images have no label in labels.csv, the first b.png\n"
        "hint: a probability is a number from 0 to 1 in every cell; logits need a sigmoid, or eval.scores=raw; "
        "the label table names images like a.png; file names must agree, "
        "or --skip-unlabelled evaluates the others alone"
    )


def test_a_file_name_that_two_images_share_joins_neither(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.csv", "image,Mass", "x/a.png,1", "y/a.png,0")
    path = save(tmp_path / "p.csv", "image,p_Mass", "a.png,0.5")
    assert "1 of 1 images have no label in labels.csv, the first a.png" in refusal(path, labels)


def test_labels_of_other_findings_are_refused(tmp_path: Path) -> None:
    labels = save(tmp_path / "labels.csv", "image,Mass,Edema", "a.png,1,0")
    text = refusal(save(tmp_path / "p.csv", "image,p_Hernia", "a.png,0.5"), labels)
    assert text == "error: labels.csv: labels none of Hernia\nhint: it has Mass, Edema"


def test_mistakes_of_both_files_come_together(tmp_path: Path) -> None:
    text = refusal(save(tmp_path / "p.csv", "image,p_Mass", "a.png,7"), tmp_path / "labels.csv")
    assert text.startswith(
        "error: p.csv:2: p_Mass is 7, no probability\nerror: labels.csv: no such file\nhint: a probability is "
    )


def test_what_is_labelled_and_not_evaluated_is_said(tmp_path: Path) -> None:
    path = save(tmp_path / "p.csv", "Study,Edema,Mass", "s1,0.2,0.3", "s2,0.7,0.4")
    labels = save(
        tmp_path / "l.csv", "Study,No Finding,Edema,Mass,Hernia", "s1,0,1,,0", "s2,1,0,,0", "s3,1,0,,1"
    )
    notes = read(path, labels).notes
    assert "labelled but not predicted, so not evaluated: Hernia" in notes
    assert "2 of 3 labelled rows have a prediction; others are not evaluated" in notes
    assert f"blank in every row of {labels}, which counts as absent: Mass" in notes
    assert not any("blank in every row" in note for note in read(path, labels, blank="masked").notes)


def test_labels_that_are_all_evaluated_need_no_note(tmp_path: Path) -> None:
    path = save(tmp_path / "p.csv", "Study,Edema", "s1,0.2", "s2,0.7")
    assert read(path, save(tmp_path / "l.csv", "Study,Edema", "s1,0", "s2,")).notes == ()
