from pathlib import Path

import numpy as np
import pytest

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.labels.label_csv import read_labels
from cxr.labels.sources import read
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_image, write_lines

NAN = np.nan
LINES = [
    "file,who,Mass,Edema,fold,age,note",
    "a/0.png,0012,1,-1,train,58Y,NA",
    "a/1.png,12,0,,val,,x",
    "b\\2.png,NA,1.0,0,test,70,z",
]
COLUMNS = {"image": "file", "patient": "who", "age": "age"}


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


def test_a_column_of_labels_and_of_other_cells_is_asked_about_whatever_its_share(tmp_path: Path) -> None:
    write_table(tmp_path)
    keys = {"columns": {"image": "file", "patient": "who"}, "missing": "skip"}
    for num in (1, 10, 19):
        lines = ["file,who,Mass,count"] + [
            f"a/{n}.png,{n},{n % 2},{n % 2 if n >= num else n + 2}" for n in range(20)
        ]
        write_lines(tmp_path / "x.csv", lines)
        text = error_of(tmp_path, **keys)
        assert text.startswith(
            f"error: ROOT/x.csv:2: count is '2', no label, and {20 - num} other cells are 1, 0 or -1"
        )
        assert "data.findings=[Mass]" in text
        assert read_table(tmp_path, **keys, findings=["Mass"]).findings == ("Mass",)
        kept = read_table(tmp_path, **keys | {"columns": {**COLUMNS, "age": None, "others": ["count"]}})
        assert kept.findings == ("Mass",) and kept.rows["count"][0] == "2"


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
    lines = ["file,who,age,y_Mass,Pleural Thickening", "a/0.png,1,5,1,0"]
    table = read_table(write_table(tmp_path, lines), findings=["Pleural_Thickening", "Mass"])
    assert table.findings == ("Pleural_Thickening", "Mass") and table.raw.tolist() == [[0, 1]]


def test_many_images_in_a_folder_are_found_and_missing_ones_are_empty(tmp_path: Path) -> None:
    names = [f"a/{n}.png" for n in range(9)]
    lines = ["file,who,age,Mass", *(f"{name},1,5,1" for name in names)]
    assert read_table(write_table(tmp_path, lines)).rows["path"].tolist() == ["a/0.png", "a/1.png", *[""] * 7]


def test_a_missing_patient_column_says_why_it_is_needed(tmp_path: Path) -> None:
    assert error_of(write_table(tmp_path), columns={"image": "file"}) == (
        "error: ROOT/x.csv: no column 'patient_id' (data.columns.patient)\n"
        "hint: set data.columns to columns that the file has: file, who, Mass, Edema, fold, age, note; the patient "
        "is needed to keep all images of a patient in one split; data.columns.patient=null says that the table "
        "names none: each image then counts as a patient"
    )


def test_a_table_that_names_no_patient_is_taken_by_image(tmp_path: Path) -> None:
    table = read_table(write_table(tmp_path), columns={"image": "file", "patient": None})
    assert not table.names_patients and table.rows["patient_id"].tolist() == table.rows["image"].tolist()


def test_an_unknown_cell_is_named_by_line_column_and_value(tmp_path: Path) -> None:
    text = error_of(write_table(tmp_path), findings=["note", "Mass"])
    assert text == (
        "error: ROOT/x.csv:3: note is 'x', no label\n"
        "hint: a label is 1 (present), 0 (absent), -1 (uncertain) or blank (not mentioned)"
    )


def test_a_finding_without_a_column_is_named_with_its_nearest(tmp_path: Path) -> None:
    assert error_of(write_table(tmp_path), findings=["Oedema"]) == (
        "error: ROOT/x.csv: no column for finding 'Oedema'; did you mean Edema?\n"
        "hint: data.findings must be columns of the file, which has Mass, Edema, note"
    )


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["file,who,age,Mass", "a/0.png,,5,1"], "ROOT/x.csv:2: no patient in who"),
        (["file,who,age,Mass", ",1,5,1"], "ROOT/x.csv:2: no image name"),
        (
            ["file,who,age,Mass", "a.png,1,5,0", "a.png,1,5,1"],
            "ROOT/x.csv:3: image a.png: Mass is 1 here and 0 at ROOT/x.csv:2",
        ),
        (["file,who,age,Mass", "a.png,1,5,0.5"], "ROOT/x.csv:2: Mass is '0.5', a soft label"),
        (["file,who,age,Mass", "a.png,1,5,"], "ROOT/x.csv: no label column"),
        (
            ["file,who,age,No Finding,No_Finding", "a.png,1,5,1,0"],
            "ROOT/x.csv: two columns for finding 'No Finding'",
        ),
    ],
)
def test_a_faulty_table_is_refused(tmp_path: Path, lines: list[str], what: str) -> None:
    assert error_of(write_table(tmp_path, lines)).startswith(f"error: {what}")


def test_a_table_needs_its_csv_and_a_column_split_its_column(tmp_path: Path) -> None:
    write_table(tmp_path)
    assert error_of(tmp_path, csv=None).startswith("error: data.csv: a table source needs its CSV\nhint: ")
    assert error_of(tmp_path, csv="y.csv").startswith(
        "error: data.csv: no file ROOT/y.csv; there is ROOT/x.csv\nhint: "
    )
    assert error_of(tmp_path, split="column", split_column="part").startswith(
        "error: ROOT/x.csv: no column 'part'\n"
    )


def test_a_plain_label_file_is_read_by_its_usual_column_names(tmp_path: Path) -> None:
    lines = ["image,patient_id,view,sex,age,y_Mass,y_Edema,p_Mass", "a.png,007,PA,male,58,1,,1"]
    table = read_labels(write_lines(tmp_path / "x.csv", lines))
    assert table.findings == ("Mass", "Edema")
    np.testing.assert_array_equal(table.raw, [[1, NAN]])
    assert table.rows.iloc[0][["patient_id", "view", "sex", "age"]].tolist() == ["007", "PA", "M", 58.0]


def test_a_plain_label_file_without_an_image_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match="no image column") as error:
        read_labels(write_lines(tmp_path / "x.csv", ["id,Mass", "1,1"]))
    assert error.value.hint == "name the image column image or filename; its columns are id, Mass"
