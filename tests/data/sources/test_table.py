from pathlib import Path

import numpy as np
import pytest

from cxr.config import Data
from cxr.data.labels import LabelTable
from cxr.data.sources import read, read_labels
from cxr.errors import CxrError
from tests.fakes import write_image, write_lines

NAN = np.nan
LINES = [
    "file,person,Mass,Edema,fold,age,note",
    "a/0.png,0012,1,-1,train,58Y,NA",
    "a/1.png,12,0,,val,,x",
    "b\\2.png,NA,1.0,0,test,70,y",
]
COLUMNS = {"image": "file", "patient": "person", "age": "age"}


def write_table(root: Path, lines: list[str] = LINES, end: str = "\n", encoding: str = "utf-8") -> Path:
    for name in ("a/0.png", "a/1.png", "b/2.png"):
        write_image(root / name)
    write_lines(root / "x.csv", lines, end, encoding)
    return root


def read_table(root: Path, **keys: object) -> LabelTable:
    known = {"source": "table", "root": root, "csv": "x.csv", "split": "random", "columns": COLUMNS}
    return read(Data.model_validate(known | {"split_column": "fold"} | keys))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_table(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def test_columns_of_labels_are_the_findings_cell_by_cell(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path))
    assert table.findings == ("Mass", "Edema")
    np.testing.assert_array_equal(table.raw, [[1, -1], [0, NAN], [1, 0]])


def test_a_slip_of_the_pen_drops_no_finding(tmp_path: Path) -> None:
    lines = ["file,person,Mass,count"] + [f"a/{n}.png,{n},{n % 2},{n}" for n in range(20)]
    write_lines(write_table(tmp_path) / "x.csv", [*lines, "b/2.png,21,yes,1"])
    keys = {"columns": {"image": "file", "patient": "person"}, "missing": "skip"}
    assert error_of(tmp_path, **keys).startswith(
        "error: ROOT/x.csv:22: Mass is 'yes', and a label in nearly every other"
    )
    with pytest.raises(CxrError, match="Mass is 'yes'"):
        read_table(tmp_path, **keys, findings=["Mass"])
    write_lines(tmp_path / "x.csv", lines)
    assert read_table(tmp_path, **keys).findings == ("Mass",)  # a column of numbers is none


def test_ids_keep_leading_zeros_and_na(tmp_path: Path) -> None:
    assert read_table(write_table(tmp_path)).rows["patient_id"].tolist() == ["0012", "12", "NA"]


def test_split_age_and_files_come_from_the_named_columns(tmp_path: Path) -> None:
    rows = read_table(write_table(tmp_path)).rows
    assert rows["split"].tolist() == ["train", "val", "test"]
    assert rows["path"].tolist() == rows["image"].tolist() == ["a/0.png", "a/1.png", "b/2.png"]
    np.testing.assert_array_equal(rows["age"], [58, NAN, 70])


def test_a_spreadsheets_file_reads_the_same(tmp_path: Path) -> None:
    plain = read_table(write_table(tmp_path))
    theirs = read_table(write_table(tmp_path, end="\r\n", encoding="utf-8-sig"))
    assert theirs.rows.equals(plain.rows)
    np.testing.assert_array_equal(theirs.raw, plain.raw)


def test_findings_choose_columns_in_their_order_by_synonym_and_prefix(tmp_path: Path) -> None:
    lines = ["file,person,age,y_Mass,Pleural Thickening", "a/0.png,1,5,1,0"]
    table = read_table(write_table(tmp_path, lines), findings=["Pleural_Thickening", "Mass"])
    assert table.findings == ("Pleural_Thickening", "Mass") and table.raw.tolist() == [[0, 1]]


def test_many_images_in_a_folder_are_found_and_missing_ones_are_empty(tmp_path: Path) -> None:
    names = [f"a/{n}.png" for n in range(9)]
    lines = ["file,person,age,Mass", *(f"{name},1,5,1" for name in names)]
    assert read_table(write_table(tmp_path, lines)).rows["path"].tolist() == ["a/0.png", "a/1.png", *[""] * 7]


def test_a_missing_patient_column_says_why_it_is_needed(tmp_path: Path) -> None:
    assert error_of(write_table(tmp_path), columns={"image": "file"}) == (
        "error: ROOT/x.csv: no column 'patient_id' (data.columns.patient)\n"
        "hint: set data.columns to columns that the file has: file, person, Mass, Edema, fold, age, note; "
        "the patient is needed to keep all images of a patient in one split"
    )


def test_an_unknown_cell_is_named_by_line_column_and_value(tmp_path: Path) -> None:
    text = error_of(write_table(tmp_path), findings=["note", "Mass"])
    assert text == (
        "error: ROOT/x.csv:2: note is 'NA'\n"
        "hint: a label is 1 (present), 0 (absent), -1 (uncertain) or blank (not said)"
    )


def test_a_finding_without_a_column_is_named_with_its_nearest(tmp_path: Path) -> None:
    assert error_of(write_table(tmp_path), findings=["Oedema"]) == (
        "error: ROOT/x.csv: no column for finding 'Oedema'; did you mean Edema?\n"
        "hint: data.findings must be columns of the file, which has Mass, Edema, note"
    )


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["file,person,age,Mass", "a/0.png,,5,1"], "ROOT/x.csv:2: no patient in person"),
        (["file,person,age,Mass", ",1,5,1"], "ROOT/x.csv:2: no image name"),
        (["file,person,age,Mass", "a.png,1,5,0", "a.png,1,5,1"], "ROOT/x.csv:3: image a.png is there twice (first on"),
        (["file,person,age,Mass", "a.png,1,5,0.5"], "ROOT/x.csv: no label column"),
        (["file,person,age,Mass", "a.png,1,5,"], "ROOT/x.csv: no label column"),
        (
            ["file,person,age,No Finding,No_Finding", "a.png,1,5,1,0"],
            "ROOT/x.csv: two columns for finding 'No Finding'",
        ),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, lines: list[str], what: str) -> None:
    assert error_of(write_table(tmp_path, lines)).startswith(f"error: {what}")


def test_a_table_needs_its_csv_and_a_column_split_its_column(tmp_path: Path) -> None:
    write_table(tmp_path)
    assert error_of(tmp_path, csv=None).startswith("error: data.csv: a table source needs its CSV\nhint: ")
    assert error_of(tmp_path, csv="y.csv").startswith("error: ROOT/y.csv: no such file\nhint: ")
    assert error_of(tmp_path, split="column", split_column="part").startswith("error: ROOT/x.csv: no column 'part'\n")


def test_a_plain_label_file_is_read_by_its_usual_column_names(tmp_path: Path) -> None:
    lines = ["image,patient_id,view,sex,age,y_Mass,y_Edema,p_Mass", "a.png,007,PA,male,58,1,,1"]
    table = read_labels(write_lines(tmp_path / "x.csv", lines))
    assert table.findings == ("Mass", "Edema")
    np.testing.assert_array_equal(table.raw, [[1, NAN]])
    assert table.rows.iloc[0][["patient_id", "view", "sex", "age"]].tolist() == ["007", "PA", "M", 58.0]


def test_a_plain_label_file_without_an_image_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="no image column") as error:
        read_labels(write_lines(tmp_path / "x.csv", ["id,Mass", "1,1"]))
    assert (
        error.value.hint == "name the image column image or Image Index or Path or filename; its columns are id, Mass"
    )
