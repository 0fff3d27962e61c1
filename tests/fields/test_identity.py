import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.fields.identity import normalise_ids, normalise_images
from cxr.labels.reading import make_rows
from cxr.labels.sources import read
from cxr.labels.splits import assign
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_lines

NAMES = st.text(st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=6)
IDS = st.lists(st.lists(NAMES, min_size=1, max_size=2).map(" ".join), min_size=6, max_size=30, unique=True)
BLANKS = st.sampled_from(["", " ", "  ", "\t", "\u00a0", "\u2003", "\u3000", "\ufeff", " \u00a0 "])


@st.composite
def spelled(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Ids of patients, and the same in other spellings."""
    ids = [unicodedata.normalize("NFC", one) for one in draw(IDS)]
    form: Literal["NFC", "NFD"] = "NFC" if draw(st.booleans()) else "NFD"
    inner = draw(st.sampled_from([" ", "\u00a0", "  ", "\u2009"]))
    return ids, [
        draw(BLANKS) + unicodedata.normalize(form, one).replace(" ", inner) + draw(BLANKS) for one in ids
    ]


@given(spelled())
@settings(max_examples=100, deadline=None)
def test_any_spelling_of_the_ids_gives_the_same_split(both: tuple[list[str], list[str]]) -> None:
    data = Data.model_validate({"source": "table", "root": ".", "split": "random", "val_fraction": 0.2})
    folds = []
    for ids in both:
        rows = make_rows({"image": [str(row) for row in range(2 * len(ids))], "patient_id": both[0] + ids})
        folds.append(
            assign(LabelTable("table", Path(), rows, (), np.empty((len(rows), 0), np.float32)), data).assigned
        )
    assert folds[0].tolist() == folds[1].tolist()
    assert folds[1][: len(both[0])].tolist() == folds[1][len(both[0]) :].tolist()  # a patient is in one split


def test_whole_numbers_lose_their_point_where_all_are_whole() -> None:
    assert normalise_ids(["12.0", "7.00", "", "-3.0", "12"]) == ["12", "7", "", "-3", "12"]
    assert normalise_ids(["12.0", "a"]) == ["12.0", "a"]
    assert normalise_ids(["12.0", "12.5"]) == ["12.0", "12.5"]


def test_leading_zeros_case_and_words_stay() -> None:
    assert normalise_ids(["0012", "12", "p1", "P1", "NA"]) == ["0012", "12", "p1", "P1", "NA"]


@pytest.mark.parametrize("name", ["im\\a.png", "./im/a.png", " im/a.png\u00a0", "im//a.png", "./im/./a.png"])
def test_an_image_has_one_name_whatever_way_it_is_written(name: str) -> None:
    assert normalise_images([name]) == ["im/a.png"]


def test_ids_that_a_spreadsheet_has_rounded_are_refused(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.csv", ["image,patient_id,Mass", "a.png,8.39861E+16,1", "b.png,8.39861E+16,0"])
    with pytest.raises(CxrError, match=r"x\.csv:2: patient_id is '8\.39861E\+16', a rounded number"):
        read(Data.model_validate({"source": "table", "root": tmp_path, "csv": "x.csv", "split": "random"}))


@pytest.mark.parametrize(
    "name",
    [
        "patient_id",
        "Patient ID",
        "patientId",
        "PATIENTID",
        "PatientID ",
        "patient",
        "subject_id",
        "Subject ID",
    ],
)
def test_the_patient_is_found_under_any_usual_name(tmp_path: Path, name: str) -> None:
    write_lines(tmp_path / "x.csv", [f"Image,{name},Mass", "a.png, p1,1", "b.png,p1,0"])
    table = read(
        Data.model_validate({"source": "table", "root": tmp_path, "csv": "x.csv", "split": "random"})
    )
    assert table.names_patients and table.rows["patient_id"].tolist() == ["p1", "p1"]


def test_two_columns_that_may_name_the_patient_and_differ_are_asked_about(tmp_path: Path) -> None:
    lines = ["image,patient,subject_id,Mass", "a.png,1,s1,1", "b.png,2,s1,0", "c.png,1,s2,0"]
    write_lines(tmp_path / "x.csv", lines)
    keys = {"source": "table", "root": tmp_path, "csv": "x.csv", "split": "random"}
    with pytest.raises(CxrError, match="both patient and subject_id may name the patient, and they differ"):
        read(Data.model_validate(keys))
    named = read(Data.model_validate(keys | {"columns": {"patient": "subject_id"}}))
    assert named.rows["patient_id"].tolist() == ["s1", "s1", "s2"]


def test_a_patient_called_like_a_missing_value_is_asked_about(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.csv", ["image,patient_id,Mass", "a.png,nan,1", "b.png,nan,0", "c.png,1,0"])
    table = read(
        Data.model_validate({"source": "table", "root": tmp_path, "csv": "x.csv", "split": "random"})
    )
    assert table.notes == ("2 images of a patient called 'nan': is it a missing value?",)
