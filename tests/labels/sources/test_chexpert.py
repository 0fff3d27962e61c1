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
from cxr.labels.targets import Blank, Uncertain, count_targets, resolve
from tests.helpers.fakes import write_chexpert, write_lines


def read_chexpert(root: Path, **keys: object) -> LabelTable:
    return read(Data.model_validate({"source": "chexpert", "root": root, **keys}))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_chexpert(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def test_uncertain_and_blank_cells_stay_apart(tmp_path: Path) -> None:
    table = read_chexpert(write_chexpert(tmp_path))
    frontal = table.raw[1]
    says = {"Cardiomegaly": 1.0, "Edema": 0.0, "Atelectasis": -1.0}
    np.testing.assert_array_equal(frontal, [says.get(name, np.nan) for name in CHEXPERT_14])
    assert table.findings == CHEXPERT_14


def test_rows_tell_patient_study_view_sex_age_and_split(tmp_path: Path) -> None:
    rows = read_chexpert(write_chexpert(tmp_path)).rows
    assert rows["image"][0] == "train/patient00001/study1/view2_lateral.jpg"
    about = rows[["patient_id", "study_id", "view", "age", "sex"]]
    assert about.iloc[0].tolist() == ["patient00001", "patient00001/study1", "lateral", 0.0, ""]
    assert about.iloc[1].tolist() == ["patient00001", "patient00001/study1", "AP", 68.0, "F"]
    assert rows["split"].value_counts().to_dict() == {"train": 6, "val": 3}


@pytest.mark.parametrize("prefix", ["", "CheXpert-v1.0/", "CheXpert-v1.0-small/", "data\\CheXpert-v1.0\\"])
@pytest.mark.parametrize("folder", [".", "CheXpert-v1.0", "CheXpert-v1.0-small"])
def test_images_are_found_in_every_published_layout(tmp_path: Path, prefix: str, folder: str) -> None:
    write_chexpert(tmp_path / folder, prefix)
    table = read_chexpert(tmp_path)
    assert all((table.root / path).is_file() for path in table.rows["path"])
    assert table.rows["image"][1] == "train/patient00001/study1/view1_frontal.jpg"


def test_images_are_found_below_the_folder_that_path_names(tmp_path: Path) -> None:
    write_chexpert(tmp_path / "CheXpert-v1.0-small")
    for name in ("train.csv", "valid.csv"):
        (tmp_path / "CheXpert-v1.0-small" / name).rename(tmp_path / name)
    table = read_chexpert(tmp_path)
    assert table.rows["path"][1] == "CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg"
    assert (table.rows["path"] != "").all()


@pytest.mark.parametrize("given", [".", "CheXpert-v1.0 batch 1 (validate & csv)"])
def test_images_are_found_in_the_batches_of_the_full_resolution(tmp_path: Path, given: str) -> None:
    first = write_chexpert(tmp_path / "CheXpert-v1.0 batch 1 (validate & csv)", "CheXpert-v1.0/")
    for number, patient in enumerate(sorted((first / "train").iterdir())):
        batch = tmp_path / f"CheXpert-v1.0 batch {2 + number % 3} (train {1 + number % 3})"
        batch.mkdir(exist_ok=True)
        patient.rename(batch / patient.name)
    (first / "train").rmdir()
    table = read_chexpert(tmp_path / given)
    assert all((table.root / path).is_file() for path in table.rows["path"])
    assert table.rows["image"][1] == "train/patient00001/study1/view1_frontal.jpg"
    assert table.rows["path"][1] == "CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg"


def test_a_missing_file_has_an_empty_path_and_keeps_its_row(tmp_path: Path) -> None:
    write_chexpert(tmp_path)
    (tmp_path / "train/patient00002/study1/view1_frontal.jpg").unlink()
    rows = read_chexpert(tmp_path).rows
    assert rows["patient_id"][rows["path"] == ""].tolist() == ["patient00002"]


@pytest.mark.parametrize("suffix", ["", "_labels"])
def test_a_test_table_may_lack_sex_age_and_view(tmp_path: Path, suffix: str) -> None:
    write_chexpert(tmp_path)
    write_chexpert(tmp_path, prefix="", files=["test"], demographics=False, suffix=suffix)
    rows = read_chexpert(tmp_path).rows
    test = rows[rows["split"] == "test"]
    assert test["view"].tolist() == ["lateral", ""]
    assert test["patient_id"].tolist() == ["patient64741"] * 2 and test["age"].isna().all()


def test_a_table_named_by_data_csv_stands_alone_with_splits_from_its_paths(tmp_path: Path) -> None:
    write_chexpert(tmp_path / "CheXpert-v1.0-small", files=["valid"])
    table = read_chexpert(tmp_path, csv="CheXpert-v1.0-small/valid.csv")
    assert set(table.rows["split"]) == {"val"} and (table.rows["path"] != "").all()


def test_faults_are_named_by_file_and_line(tmp_path: Path) -> None:
    write_chexpert(tmp_path)
    edit(tmp_path / "train.csv", "-1.0", "maybe")
    assert error_of(tmp_path) == (
        "error: ROOT/train.csv:3: Atelectasis is 'maybe', no label\n"
        "hint: a label is 1 (present), 0 (absent), -1 (uncertain) or blank (not mentioned)"
    )


def test_a_missing_observation_is_named(tmp_path: Path) -> None:
    write_chexpert(tmp_path)
    edit(tmp_path / "valid.csv", "Fracture", "Fractures")
    assert error_of(tmp_path) == (
        "error: ROOT/valid.csv: no column 'Fracture'\nhint: CheXpert's tables have all 14"
    )


def test_a_path_without_a_patient_is_refused(tmp_path: Path) -> None:
    write_chexpert(tmp_path)
    edit(tmp_path / "train.csv", "patient00003", "someone")
    assert error_of(tmp_path) == (
        "error: ROOT/train.csv:5: no patient (patient00001/) in Path\n"
        "hint: read other datasets with data.source=table"
    )


def test_an_image_in_two_tables_is_refused(tmp_path: Path) -> None:
    write_chexpert(tmp_path)
    (tmp_path / "test.csv").write_text((tmp_path / "train.csv").read_text())
    assert error_of(tmp_path).startswith(
        "error: ROOT/test.csv:2: image train/patient00001/study1/view2_lateral.jpg is of split 'test' here "
        "and 'train' at ROOT/train.csv:2\nhint: "
    )


def test_a_folder_without_tables_says_what_was_looked_for(tmp_path: Path) -> None:
    assert error_of(tmp_path) == (
        "error: ROOT: no table of CheXpert\n"
        "hint: looked for train.csv, valid.csv, test.csv, test_labels.csv there and in CheXpert-v1.0*/; "
        "data.root must be the folder that holds train.csv, or set data.csv"
    )
    assert error_of(tmp_path, csv="no.csv").startswith("error: data.csv: no file ROOT/no.csv\n")
    assert error_of(tmp_path / "no") == (
        "error: ROOT: no such folder\nhint: data.root must be the folder that holds train.csv and train/"
        "; cxr download chexpert tells where to get it"
    )


def test_a_label_table_may_have_fewer_observations(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "x.csv", ["Path,Edema,Pleural_Effusion", "valid/patient1/study1/view1_frontal.jpg,1,0"]
    )
    table = read_labels(path)
    assert table.findings == ("Edema", "Pleural Effusion") and table.raw.tolist() == [[1, 0]]


def test_the_full_training_table_equals_pandas_cell_by_cell(
    full_chexpert: tuple[LabelTable, pd.DataFrame],
) -> None:
    table, cells = full_chexpert
    np.testing.assert_array_equal(table.raw, cells[list(CHEXPERT_14)].to_numpy(np.float32))
    assert len(table) == 223_414 and table.rows["patient_id"].nunique() == 64_540
    assert (table.rows["view"] == "lateral").sum() == (cells["Frontal/Lateral"] == "Lateral").sum() == 32_387
    np.testing.assert_array_equal(table.rows["age"], cells["Age"])


@pytest.fixture(scope="module")
def full(full_chexpert: tuple[LabelTable, pd.DataFrame]) -> tuple[LabelTable, pd.DataFrame]:
    """The full training table as we read it, and its 14 columns as pandas reads them."""
    table, cells = full_chexpert
    return table, cells[list(CHEXPERT_14)]


@pytest.mark.parametrize("blank", ["negative", "masked"])
@pytest.mark.parametrize(
    ("uncertain", "becomes"), [("ignore", np.nan), ("zeros", 0.0), ("ones", 1.0), ((0.55, 0.85), 0.7)]
)
def test_the_full_training_tables_counts_under_every_policy_equal_pandas(
    full: tuple[LabelTable, pd.DataFrame], uncertain: Uncertain, becomes: float, blank: Blank
) -> None:
    table, cells = full
    counts = count_targets(resolve(table, CHEXPERT_14, uncertain, blank)).set_index("finding")
    said = (cells.fillna(0) if blank == "negative" else cells).replace(-1, becomes)
    assert counts["positive"].tolist() == (said == 1).sum().tolist()
    assert counts["negative"].tolist() == (said == 0).sum().tolist()
    assert counts["soft"].tolist() == (said == 0.7).sum().tolist()
    assert counts["masked"].tolist() == said.isna().sum().tolist()


def test_a_range_draws_every_target_of_the_full_training_table_inside_it(
    full: tuple[LabelTable, pd.DataFrame],
) -> None:
    table, cells = full
    drawn = resolve(table, CHEXPERT_14, (0.55, 0.85)).y[cells.to_numpy() == -1]
    assert len(drawn) == (cells == -1).sum().sum() and 0.55 <= drawn.min() and drawn.max() <= 0.85
    assert abs(drawn.mean() - 0.7) < 0.001


def test_cells_of_a_patients_studies_are_never_merged(
    full: tuple[LabelTable, pd.DataFrame], full_chexpert: tuple[LabelTable, pd.DataFrame]
) -> None:
    table, cells = full
    paths = full_chexpert[1]["Path"].str.removeprefix("CheXpert-v1.0-small/")
    assert table.rows["image"].tolist() == paths.tolist()
    targets = resolve(table, CHEXPERT_14, "zeros", "masked")
    np.testing.assert_array_equal(
        np.where(targets.mask, targets.y, np.nan), cells.replace(-1, 0).to_numpy(np.float32)
    )
    merged = cells.groupby(table.rows["patient_id"]).first()  # what a merge by patient would leave
    assert len(merged) == 64_540 and len(table) == 223_414
