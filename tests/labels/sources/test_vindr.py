from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.labels.label_csv import read_labels
from cxr.labels.sources import read
from cxr.labels.splits import assign
from cxr.labels.table import LabelTable
from tests.helpers.fakes import VINDR_FINDINGS, write_lines, write_vindr

TRAIN = "annotations/image_labels_train.csv"


def data_of(root: Path, **keys: object) -> Data:
    return Data.model_validate({"source": "vindr", "root": root, **keys})


def read_vindr(root: Path, **keys: object) -> LabelTable:
    return read(data_of(root, **keys))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_vindr(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def test_a_cell_is_what_the_majority_says_and_uncertain_below_it(tmp_path: Path) -> None:
    table = read_vindr(write_vindr(tmp_path))
    share = pd.read_csv(tmp_path / TRAIN).groupby("image_id")[list(VINDR_FINDINGS)].mean()
    np.testing.assert_array_equal(table.raw[:3], share.map(lambda part: part and (1 if part > 0.5 else -1)))
    assert table.raw[0].tolist() == [1, 1, 0, -1, 0]
    assert table.findings == (
        "Cardiomegaly",
        "Nodule/Mass",
        "Pleural Effusion",
        "Other diseases",
        "No Finding",
    )


def test_the_test_table_has_one_row_an_image_and_its_own_spelling(tmp_path: Path) -> None:
    table = read_vindr(write_vindr(tmp_path))
    assert table.rows["split"].tolist() == ["train"] * 3 + ["test"]
    assert table.raw[3].tolist() == [0, 1, 0, 1, 0]


def test_an_image_is_a_patient_of_its_own_and_the_split_the_datasets(tmp_path: Path) -> None:
    table = read_vindr(write_vindr(tmp_path))
    assert table.rows["patient_id"].tolist() == table.rows["image"].tolist() == ["a1", "b2", "c3", "d4"]
    assert sorted(assign(table, data_of(tmp_path)).assigned.tolist()) == ["test", "train", "train", "val"]


@pytest.mark.parametrize("suffix", [".dicom", ".dcm", ".png", ".JPG"])
def test_images_are_found_under_every_suffix(tmp_path: Path, suffix: str) -> None:
    write_vindr(tmp_path)
    (tmp_path / "train/a1.png").rename(tmp_path / f"train/a1{suffix}")
    (tmp_path / "test/d4.png").unlink()
    assert read_vindr(tmp_path).rows["path"].tolist() == [
        f"train/a1{suffix}",
        "train/b2.png",
        "train/c3.png",
        "",
    ]


def test_a_reader_table_by_itself_is_read_as_labels(tmp_path: Path) -> None:
    assert read_labels(write_vindr(tmp_path) / TRAIN).raw.shape == (3, 5)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("a1,R9", "a1,R8", f"{TRAIN}:3: image a1 by reader R8 is there twice (first on line 2)"),
        ("R9,1,1", "R9,-1,1", f"{TRAIN}:3: Cardiomegaly is -1"),
        ("R9,1,1", "R9,maybe,1", f"{TRAIN}:3: Cardiomegaly is 'maybe'"),
        ("image_id", "image", f"{TRAIN}: no column 'image_id'"),
        ("a1,", "d4,", ": image d4 is in two of its tables"),
    ],
)
def test_faults_are_named(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = write_vindr(tmp_path) / TRAIN
    path.write_text(path.read_text().replace(old, new))
    assert error_of(tmp_path).startswith(f"error: ROOT{what if what[0] == ':' else f'/{what}'}")


def test_a_folder_without_tables_and_a_table_without_findings_are_named(tmp_path: Path) -> None:
    assert error_of(tmp_path).startswith(
        "error: ROOT: no label table of VinDr-CXR\nhint: looked for annotations/"
    )
    write_lines(tmp_path / "x.csv", ["image_id,rad_id", "a1,R1"])
    assert error_of(tmp_path, csv="x.csv").startswith("error: ROOT/x.csv: no column of a finding\n")
    assert error_of(tmp_path, split="column").startswith(
        "error: data.split: the tables of VinDr-CXR have no split"
    )
