from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.findings import CHEXPERT_14
from cxr.labels.sources import read
from cxr.labels.splits import assign
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_gzip, write_lines, write_mimic

TABLES = ("metadata", "split", "chexpert", "negbio")


def data_of(root: Path, **keys: object) -> Data:
    return Data.model_validate({"source": "mimic", "root": root, **keys})


def read_mimic(root: Path, **keys: object) -> LabelTable:
    return read(data_of(root, **keys))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_mimic(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def path_of(root: Path, name: str) -> Path:
    return root / f"mimic-cxr-2.0.0-{name}.csv"


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize("labeler", ["chexpert", "negbio"])
def test_every_image_has_the_cells_of_its_study_as_pandas_merges_them(tmp_path: Path, labeler: str) -> None:
    table = read_mimic(write_mimic(tmp_path), labeler=labeler)
    metadata, labels = (pd.read_csv(path_of(tmp_path, name)) for name in ("metadata", labeler))
    merged = metadata.merge(labels, how="left", on=["subject_id", "study_id"], validate="many_to_one")
    assert table.rows["image"].tolist() == metadata["dicom_id"].tolist()
    np.testing.assert_array_equal(table.raw, merged[list(CHEXPERT_14)].to_numpy(np.float32))


def test_a_study_without_labels_keeps_its_images_with_blank_cells(tmp_path: Path) -> None:
    table = read_mimic(write_mimic(tmp_path))
    blank = np.isnan(table.raw).all(axis=1)
    assert len(table) == 20 and table.rows["study_id"].to_numpy()[blank].tolist() == ["50000003"] * 2


def test_rows_tell_patient_study_view_and_split(tmp_path: Path) -> None:
    rows = read_mimic(write_mimic(tmp_path)).rows
    assert rows["patient_id"][:2].tolist() == ["10000000"] * 2
    assert rows["view"].value_counts().to_dict() == {"lateral": 7, "AP": 8, "PA": 5}
    own = pd.read_csv(path_of(tmp_path, "split"))["split"].replace("validate", "val")
    assert rows["split"].tolist() == own.tolist()
    assert rows["age"].isna().all() and set(rows["sex"]) == {""}


def test_the_official_split_is_the_datasets_own(tmp_path: Path) -> None:
    split = assign(read_mimic(write_mimic(tmp_path)), data_of(tmp_path))
    assert {name: len(split.rows(name)) for name in ("train", "val", "test")} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }


@pytest.mark.parametrize("version", ["2.0.0", "2.1.0"])
def test_gzipped_tables_of_any_version_say_the_same(tmp_path: Path, version: str) -> None:
    plain = read_mimic(write_mimic(tmp_path / "plain"))
    write_mimic(tmp_path / "zipped", version)
    for name in TABLES:
        write_gzip(tmp_path / "zipped" / f"mimic-cxr-{version}-{name}.csv")
    zipped = read_mimic(tmp_path / "zipped")
    assert zipped.rows.equals(plain.rows)
    np.testing.assert_array_equal(zipped.raw, plain.raw)


def test_images_are_found_with_and_without_the_folder_files(tmp_path: Path) -> None:
    rows = read_mimic(write_mimic(tmp_path)).rows
    assert all((tmp_path / path).is_file() for path in rows["path"])
    (tmp_path / "files/p10").rename(tmp_path / "p10")
    (tmp_path / "files").rmdir()
    (tmp_path / read_mimic(tmp_path).rows["path"][0]).unlink()
    paths = read_mimic(tmp_path).rows["path"]
    assert paths[0] == "" and paths[1].startswith("p10/p10000000/s50000000/")


def test_age_and_sex_come_from_mimic_ivs_table_of_patients(tmp_path: Path) -> None:
    lines = [
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        "10000002,F,50,2100,2014 - 2016,",
    ]
    write_lines(write_mimic(tmp_path) / "patients.csv", lines)
    rows = read_mimic(tmp_path).rows
    here = rows["patient_id"] == "10000002"  # its study is of 2102
    assert rows["age"][here].tolist() == [52, 52] and rows["sex"][here].tolist() == ["F", "F"]
    assert rows["age"][~here].isna().all() and set(rows["sex"][~here]) == {""}


def test_split_names_without_a_row_are_kept_as_absent(tmp_path: Path) -> None:
    path = path_of(write_mimic(tmp_path), "split")
    path.write_text(path.read_text() + "gone,1,2,validate\n")
    assert read_mimic(tmp_path).absent == (("gone", "val"),)


def test_every_lacking_table_is_named_and_the_split_only_when_it_is_needed(tmp_path: Path) -> None:
    path_of(write_mimic(tmp_path), "split").unlink()
    assert set(read_mimic(tmp_path, split="random").rows["split"]) == {""}
    for name in ("metadata", "negbio"):
        path_of(tmp_path, name).unlink()
    assert error_of(tmp_path, labeler="negbio") == (
        "error: ROOT: no mimic-cxr-*-metadata.csv or .csv.gz\n"
        "error: ROOT: no mimic-cxr-*-negbio.csv or .csv.gz\n"
        "error: ROOT: no mimic-cxr-*-split.csv or .csv.gz\n"
        "hint: data.root must be the folder of MIMIC-CXR-JPG that holds its tables and files/; "
        "without the split's table use data.split=random, lists or column"
    )


@pytest.mark.parametrize(
    ("table", "old", "new", "what"),
    [
        ("chexpert", "-1.0", "-2", "chexpert.csv:2: Edema is '-2'"),
        (
            "chexpert",
            "50000001",
            "50000000",
            "chexpert.csv:2: study_id 50000000 is there twice (again on line 3)",
        ),
        ("chexpert", "study_id", "study", "chexpert.csv: no column 'study_id'"),
        ("split", "validate", "later", "split.csv:14: split is 'later'"),
        ("metadata", "subject_id", "patient", "metadata.csv: no column 'subject_id'"),
        ("metadata", ",10000001,", ",,", "metadata.csv:4: no patient in subject_id (and 1 more rows)"),
        (
            "metadata",
            "00000001-AP-0003",
            "00000000-PA-0001",
            "metadata.csv:4: image 00000000-PA-0001 is of patient ",
        ),
    ],
)
def test_faults_are_named_by_file_and_line(tmp_path: Path, table: str, old: str, new: str, what: str) -> None:
    edit(path_of(write_mimic(tmp_path), table), old, new)
    assert error_of(tmp_path).startswith(f"error: ROOT/mimic-cxr-2.0.0-{what}")


def test_a_table_of_labels_named_by_data_csv_takes_the_labelers_place(tmp_path: Path) -> None:
    write_lines(write_mimic(tmp_path) / "mine.csv", ["study_id,Pleural Effusion", "50000001,1", "50000002,0"])
    table = read_mimic(tmp_path, csv="mine.csv")
    assert table.findings == ("Pleural Effusion",)
    np.testing.assert_array_equal(table.raw[:6, 0], [np.nan, np.nan, 1, 1, 0, 0])
    assert error_of(tmp_path, csv="no.csv").startswith(
        "error: data.csv: no file ROOT/no.csv; there is ROOT/mine.csv\n"
    )
