from pathlib import Path

import pytest

from cxr.errors import CxrError
from cxr.evaluation.predictions import read
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


@pytest.mark.parametrize("second", ["s1,0.4,0", ",0.4,0"])
def test_ids_that_do_not_tell_rows_apart_need_an_image_column(tmp_path: Path, second: str) -> None:
    path = write_lines(tmp_path / "p.csv", ["study_id,p_Edema,y_Edema", "s1,0.5,1", second])
    with pytest.raises(CxrError, match=r"p\.csv:1: no image column"):
        read(path)
