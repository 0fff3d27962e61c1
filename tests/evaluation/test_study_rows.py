from pathlib import Path

import pytest

from cxr.errors import CxrError
from cxr.evaluation.predictions import read
from cxr.evaluation.units import combine
from tests.helpers.fakes import write_lines


def test_rows_without_images_are_studies_and_chexperts_names_tell_the_patient(tmp_path: Path) -> None:
    names = [f"CheXpert-v1.0/test/patient{number}/study1" for number in (3, 5)]
    path = write_lines(tmp_path / "p.csv", ["Study,Edema", f"{names[0]},0.2", f"{names[1]},0.7"])
    labels = write_lines(tmp_path / "l.csv", ["Study,Edema", f"{names[1]},1", f"{names[0]},0"])
    found = read(path, labels)
    assert (found.unit, found.rows["image"].tolist(), found.y[:, 0].tolist()) == ("study", names, [0, 1])
    assert found.rows["patient_id"].tolist() == ["patient3", "patient5"]
    assert found.describe() == "all rows (2 studies, 2 patients)"


def test_visits_that_patients_share_are_told_apart_and_patients_alone_are_rows_too(tmp_path: Path) -> None:
    lines = ["patient_id,study_id,p_Edema,y_Edema", "a,1,0.5,1", "b,1,0.4,0"]
    assert read(write_lines(tmp_path / "p.csv", lines)).rows["image"].tolist() == ["a/1", "b/1"]
    lines = ["patient_id,p_Edema,y_Edema", "a,0.5,1", "b,0.4,0"]
    found = read(write_lines(tmp_path / "q.csv", lines))
    assert (found.unit, found.describe()) == ("patient", "all rows (2 patients)")


@pytest.mark.parametrize(
    ("second", "problem"),
    [
        ("s1,0.4,0", r"p\.csv:3: study s1 is row 2 again\n"),
        (",0.4,0", r"p\.csv:3: no image column, and study_id is empty\n"),
    ],
)
def test_ids_that_do_not_tell_rows_apart_are_named(tmp_path: Path, second: str, problem: str) -> None:
    path = write_lines(tmp_path / "p.csv", ["study_id,p_Edema,y_Edema", "s1,0.5,1", second])
    with pytest.raises(CxrError, match=problem):
        read(path)


@pytest.mark.parametrize("slash", ["/", "\\"])
def test_paths_of_chexpert_tell_the_patient_of_an_image(tmp_path: Path, slash: str) -> None:
    studies = [f"CheXpert-v1.0/valid/patient{number}/study1" for number in (3, 5)]
    images = [f"{study}/view1_frontal.jpg".replace("/", slash) for study in studies]
    path = write_lines(tmp_path / "p.csv", ["Path,Edema", f"{images[0]},0.2", f"{images[1]},0.7"])
    labels = write_lines(tmp_path / "l.csv", ["Study,Edema", f"{studies[1]},1", f"{studies[0]},0"])
    found = read(path, labels)
    assert found.rows["patient_id"].tolist() == ["patient3", "patient5"]
    assert (found.unit, found.y[:, 0].tolist()) == ("image", [0, 1])
    assert combine(found, "patient", "max").rows["image"].tolist() == ["patient3", "patient5"]


def test_studies_with_backslashes_are_joined_too(tmp_path: Path) -> None:
    study = "CheXpert-v1.0/valid/patient3/study1"
    for slash, other in (("\\", "/"), ("/", "\\")):
        path = write_lines(tmp_path / "p.csv", ["Study,Edema", f"{study.replace('/', slash)},0.2"])
        labels = write_lines(tmp_path / "l.csv", ["Study,Edema", f"{study.replace('/', other)},1"])
        found = read(path, labels)
        assert (found.rows["patient_id"].tolist(), found.y[0, 0]) == (["patient3"], 1)


def test_patients_of_the_labels_win_over_those_of_paths(tmp_path: Path) -> None:
    image = "CheXpert-v1.0/valid/patient3/study1/view1_frontal.jpg"
    path = write_lines(tmp_path / "p.csv", ["Path,Edema", f"{image},0.2"])
    labels = write_lines(tmp_path / "l.csv", ["filename,patient_id,Edema", f"{image},p77,1"])
    assert read(path, labels).rows["patient_id"].tolist() == ["p77"]
