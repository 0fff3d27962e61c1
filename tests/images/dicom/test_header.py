from pathlib import Path

import numpy as np
import pytest

from cxr.config.schema import Data
from cxr.images.dicom.header import Header, read_header
from cxr.labels.sources import read
from tests.helpers.dicoms import write_dicom
from tests.helpers.fakes import write_image, write_lines

PIXELS = np.zeros((8, 8), np.uint16)


@pytest.mark.parametrize(
    ("position", "view"),
    [("PA", "PA"), ("AP", "AP"), ("AP SUPINE", "AP"), ("LL", "lateral"), ("RL", "lateral"), ("LATERAL", "lateral"),
     ("XTABLE LATERAL", "lateral"), ("LLD", "LLD"), ("", "")],
)  # fmt: skip
def test_view_positions_become_pa_ap_and_lateral(tmp_path: Path, position: str, view: str) -> None:
    assert read_header(write_dicom(tmp_path / "x", PIXELS, ViewPosition=position)).view == view


@pytest.mark.parametrize(
    ("age", "years"), [("045Y", 45), ("006M", 0.5), ("007D", 7 / 365.25), ("old", np.nan)]
)
def test_ages_are_years(tmp_path: Path, age: str, years: float) -> None:
    path = write_dicom(tmp_path / "x", PIXELS)
    path.write_bytes(
        write_dicom(tmp_path / "y", PIXELS, PatientAge="100Y").read_bytes().replace(b"100Y", age.encode())
    )
    np.testing.assert_equal(read_header(path).age, years)


def test_a_header_holds_sex_and_side_and_nobody(tmp_path: Path) -> None:
    header = read_header(
        write_dicom(tmp_path / "x", PIXELS, PatientSex="F", ImageLaterality="L", PatientAge="001Y")
    )
    assert header == Header("", "L", 1.0, "F")
    assert "SECRET" not in repr(header)


def test_other_files_have_an_empty_header(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png")
    (tmp_path / "x.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 99)
    for name in ("x.png", "x.dcm", "absent.dcm", "."):
        assert read_header(tmp_path / name).view == read_header(tmp_path / name).sex == ""


def table(root: Path, **columns: str) -> Data:
    write_image(root / "a.png")
    write_dicom(root / "b.dcm", PIXELS, ViewPosition="LL", PatientAge="010Y", PatientSex="M")
    write_lines(root / "x.csv", ["image,patient_id,hers,Mass", "a.png,1,F,1", "b.dcm,2,F,0", "c.dcm,3,F,0"])
    keys = {"source": "table", "root": root, "csv": "x.csv", "split": "random", "columns": columns}
    return Data.model_validate(keys)


def test_a_table_takes_from_dicom_files_what_it_has_no_column_for(tmp_path: Path) -> None:
    rows = read(table(tmp_path)).rows
    assert (rows["view"].tolist(), rows["sex"].tolist()) == (["", "lateral", ""], ["", "M", ""])
    np.testing.assert_array_equal(rows["age"], [np.nan, 10, np.nan])
    assert "SECRET" not in rows.to_csv()


def test_a_tables_own_column_stands_before_the_header(tmp_path: Path) -> None:
    assert read(table(tmp_path, sex="hers")).rows["sex"].tolist() == ["F", "F", "F"]
