import gzip
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.findings import NIH_14
from cxr.labels.label_csv import read_labels
from cxr.labels.sources import read
from cxr.labels.table import LabelTable
from tests.helpers.fakes import NIH_IMAGES, NihImage, write_lines, write_nih


def read_nih(root: Path, **keys: object) -> LabelTable:
    return read(Data.model_validate({"source": "nih", "root": root, **keys}))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_nih(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def test_every_cell_is_as_the_csv_says(tmp_path: Path) -> None:
    table = read_nih(write_nih(tmp_path))
    says = [[float(name in image.labels.split("|")) for name in table.findings] for image in NIH_IMAGES]
    assert table.rows["image"].tolist() == [image.name for image in NIH_IMAGES]
    assert table.raw.tolist() == says
    assert table.findings == (*NIH_14, "No Finding")


def test_ages_of_the_2017_file_become_years_and_impossible_ones_unknown(tmp_path: Path) -> None:
    write_nih(tmp_path, csv="Data_Entry_2017.csv", sex="Patient Gender", trailing_comma=True)
    rows = read_nih(tmp_path).rows
    np.testing.assert_allclose(rows["age"], [58, np.nan, 11 / 12, 81, 82, 13 / 365.25])
    assert rows["sex"].tolist() == ["M", "M", "F", "F", "F", "M"]
    assert rows["view"].tolist() == ["PA", "AP", "PA", "PA", "PA", "PA"]
    assert rows["study_id"].tolist() == ["1/0", "1/1", "2/2", "3/3", "3/4", "4/5"]


@pytest.mark.parametrize(
    "folders", [("images",), ("images_001/images", "images_012/images"), ("images_001", "images_002"), (".",)]
)
def test_images_are_found_in_every_published_layout(tmp_path: Path, folders: tuple[str, ...]) -> None:
    rows = read_nih(write_nih(tmp_path, folders=folders)).rows
    assert all((tmp_path / path).is_file() for path in rows["path"])
    assert [Path(path).name for path in rows["path"]] == rows["image"].tolist()


def test_a_missing_file_has_an_empty_path_and_keeps_its_row(tmp_path: Path) -> None:
    write_nih(tmp_path)
    (tmp_path / "images/00000002_000.png").unlink()
    rows = read_nih(tmp_path).rows
    assert rows["image"][rows["path"] == ""].tolist() == ["00000002_000.png"]


def test_list_names_without_a_row_are_kept_as_absent(tmp_path: Path) -> None:
    write_nih(tmp_path)
    write_lines(tmp_path / "test_list.txt", ["00000003_000.png", "00009999_000.png"], end="\r\n")
    table = read_nih(tmp_path)
    assert table.rows["split"].tolist() == ["train_val", "train_val", "train_val", "test", "", "train_val"]
    assert table.absent == (("00009999_000.png", "test"),)


def test_gzip_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    plain = read_nih(write_nih(tmp_path))
    text = (tmp_path / "Data_Entry_2017_v2020.csv").read_text()
    (tmp_path / "Data_Entry_2017_v2020.csv").unlink()
    data = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    (tmp_path / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(data))
    assert read_nih(tmp_path).rows.equals(plain.rows)


def test_a_patient_called_na_stays_a_patient(tmp_path: Path) -> None:
    table = read_nih(write_nih(tmp_path, [NihImage("a.png", patient="NA"), NihImage("b.png", patient="007")]))
    assert table.rows["patient_id"].tolist() == ["NA", "007"]


def test_lists_are_needed_for_the_official_split_only(tmp_path: Path) -> None:
    write_nih(tmp_path, lists=False)
    assert set(read_nih(tmp_path, split="random").rows["split"]) == {""}
    assert error_of(tmp_path) == (
        "error: ROOT: no train_val_list.txt, which split=official needs\n"
        "error: ROOT: no test_list.txt, which split=official needs\n"
        "hint: download the lists from the page of the images, or use data.split=random, lists or column"
    )


def test_a_name_in_both_lists_is_refused(tmp_path: Path) -> None:
    write_nih(tmp_path)
    write_lines(tmp_path / "test_list.txt", ["00000001_000.png"])
    assert error_of(tmp_path).startswith(
        "error: ROOT/test_list.txt: 1 image also in train_val_list.txt, the first 00000001_000.png"
    )


def test_a_line_of_zero_width_spaces_names_no_image(tmp_path: Path) -> None:
    write_nih(tmp_path)
    with (tmp_path / "test_list.txt").open("a", encoding="utf-8") as file:
        file.write("\u200b\n")
    assert read_nih(tmp_path).absent == ()


def test_a_missing_folder_says_what_data_root_must_be(tmp_path: Path) -> None:
    assert error_of(tmp_path / "nih") == (
        "error: ROOT: no such folder\nhint: data.root must be the folder that holds Data_Entry_2017_v2020.csv"
        "; cxr download nih tells where to get it"
    )


def test_a_missing_table_says_what_was_looked_for(tmp_path: Path) -> None:
    assert error_of(tmp_path) == (
        "error: ROOT: no label table of ChestX-ray14\nhint: looked for Data_Entry_2017_v2020.csv, "
        "Data_Entry_2017.csv, plain or gzipped; "
        "data.root must be the folder that holds it and images/, or set data.csv"
    )
    assert error_of(tmp_path, csv="x.csv").startswith(
        "error: data.csv: no file ROOT/x.csv\nhint: data.csv is relative"
    )


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ([], "/x.csv: no rows"),
        (["Image Index,Finding Labels,Patient ID"], "/x.csv: no rows"),
        (["Image Index,Patient ID", "a.png,1"], "/x.csv: no column 'Finding Labels'"),
        (
            ["Image Index,Finding Labels,Patient ID", "a.png,Mass,1", "b.png,Mass"],
            "/x.csv:3: 2 cells where the header",
        ),
        (
            ["Image Index,Finding Labels,Patient ID", "", "a.png,Mass|Flu,1"],
            "/x.csv:3: unknown finding 'Flu' in Find",
        ),
        (["Image Index,Finding Labels,Patient ID", "a.png,Mass, "], "/x.csv:2: no patient in Patient ID"),
        (
            ["Image Index,Finding Labels,Patient ID", "a.png,Mass,1", "b.png,Mass,1", "a.png,Hernia,1"],
            "/x.csv:4: image a.png: Mass is 0 here and 1 at ROOT/x.csv:2",
        ),
        (["A,A", "1,2"], "/x.csv:1: column 'A' is there twice"),
    ],
)
def test_a_faulty_table_is_refused_by_file_and_line(tmp_path: Path, lines: list[str], what: str) -> None:
    write_lines(tmp_path / "x.csv", lines)
    text = error_of(tmp_path, csv="x.csv", split="random")
    assert text.startswith(f"error: ROOT{what}")
    assert "\nhint: " in text


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00", "é,é\n1,".encode() + b"\xe9", b'a,b\n1,"2', b"\x1f\x8b\x08"]
)
def test_a_file_that_is_no_csv_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert re.match(rf"error: ROOT/{name}:(\d+:)? not a readable CSV file \(", error_of(tmp_path, csv=name))


def test_a_folder_in_place_of_the_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    assert error_of(tmp_path, csv="x.csv").startswith(
        "error: ROOT/x.csv: Is a directory\nhint: check that it is a file"
    )


def test_labels_are_read_without_a_patient_or_an_image(tmp_path: Path) -> None:
    table = read_labels(write_lines(tmp_path / "x.csv", ["Image Index,Finding Labels", "a.png,Mass"]))
    assert table.rows[["image", "path", "patient_id"]].values.tolist() == [["a.png", "", ""]]
    assert table.raw[0, table.findings.index("Mass")] == 1 == table.raw.sum()


def test_the_full_table_equals_torchxrayvisions_cell_by_cell(full_nih: LabelTable, tmp_path: Path) -> None:
    table = full_nih
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchxrayvision as xrv

        theirs = xrv.datasets.NIH_Dataset(tmp_path, views=["*"], unique_patients=False)
        default = xrv.datasets.NIH_Dataset(tmp_path)
    assert len(table) == 112_120 and len(default) == 28_868
    assert table.rows["image"].tolist() == theirs.csv["Image Index"].tolist()
    ours = table.raw[:, [table.findings.index(name) for name in theirs.pathologies]]
    np.testing.assert_array_equal(ours, theirs.labels)


@pytest.mark.real
def test_the_sample_datasets_are_read_with_their_files(sample_data: Path) -> None:
    large, small = read_nih(sample_data / "nih-1024"), read_nih(sample_data / "nih-256")
    assert (len(large), len(large.absent), (large.rows["path"] == "").sum()) == (130, 111_990, 0)
    assert small.rows["split"].value_counts().to_dict() == {"train_val": 778, "test": 131}
