from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.findings import CHEXPERT_14
from cxr.labels.label_csv import read_labels
from cxr.labels.sources import read
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_brax, write_gzip

TABLE = "master_spreadsheet_update.csv"


def read_brax(root: Path, **keys: object) -> LabelTable:
    return read(Data.model_validate({"source": "brax", "root": root, "split": "random", **keys}))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_brax(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def test_every_row_is_kept_and_every_cell_is_as_pandas_reads_it(tmp_path: Path) -> None:
    table = read_brax(write_brax(tmp_path))
    cells = pd.read_csv(tmp_path / TABLE)
    assert table.rows["image"].tolist() == cells["PngPath"].tolist()
    np.testing.assert_array_equal(table.raw, cells[list(CHEXPERT_14)].to_numpy(np.float32))


def test_rows_tell_patient_study_view_sex_and_age(tmp_path: Path) -> None:
    rows = read_brax(write_brax(tmp_path)).rows
    assert rows["patient_id"].tolist() == ["id_0", "id_1", "id_2", "id_3", "id_0", "id_1"]
    assert rows["study_id"].tolist() == list("012345")
    assert rows["view"].tolist() == ["PA", "lateral", ""] * 2
    assert rows["age"].tolist() == [40, 85, 40, 40, 40, 40] and set(rows["sex"]) == {"F"}


def test_a_dicom_file_stands_in_for_a_png_that_is_not_there(tmp_path: Path) -> None:
    table = read_brax(write_brax(tmp_path))
    assert table.rows["path"].tolist() == table.rows["image"].tolist()
    dicom = tmp_path / "Anonymized_DICOMs/id_1/Study_1/Series_1/image-1.dcm"
    dicom.parent.mkdir(parents=True)
    (tmp_path / table.rows["path"][1]).rename(dicom)
    (tmp_path / table.rows["path"][2]).unlink()
    assert read_brax(tmp_path).rows["path"][1:3].tolist() == [str(dicom.relative_to(tmp_path)), ""]


def test_the_table_is_read_gzipped_and_as_labels_alone(tmp_path: Path) -> None:
    plain = read_labels(write_brax(tmp_path) / TABLE)
    write_gzip(tmp_path / TABLE)
    np.testing.assert_array_equal(read_brax(tmp_path).raw, plain.raw)
    assert plain.source == "brax"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("-1.0", "?", f"{TABLE}:3: Edema is '?'"),
        ("Fracture", "Broken", f"{TABLE}: no column 'Fracture'"),
        (",id_2,", ",,", f"{TABLE}:4: no patient in PatientID"),
        (
            "images/id_1/Study_1/Series_1/image-1",
            "images/id_1/Study_5/Series_1/image-5",
            f"{TABLE}:7: image images/id_1",
        ),
    ],
)
def test_faults_are_named_by_file_and_line(tmp_path: Path, old: str, new: str, what: str) -> None:
    path = write_brax(tmp_path) / TABLE
    path.write_text(path.read_text().replace(old, new))
    assert error_of(tmp_path).startswith(f"error: ROOT/{what}")


def test_a_folder_without_the_table_says_what_was_looked_for(tmp_path: Path) -> None:
    assert error_of(tmp_path).startswith(
        f"error: ROOT: no label table of BRAX\nhint: looked for {TABLE}, plain or gzipped; data.root must be"
    )
