import ast
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Config, Data
from cxr.data.dataset import open_dataset
from cxr.errors import CxrError
from cxr.findings import NIH_14
from cxr.images.read import read_file
from cxr.labels.label_csv import read_labels
from cxr.labels.sources import padchest, read
from cxr.labels.table import LabelTable
from tests.helpers.fakes import PADCHEST_LABELS, PADCHEST_TABLE, write_gzip, write_lines, write_padchest


def read_padchest(root: Path, **keys: object) -> LabelTable:
    return read(Data.model_validate({"source": "padchest", "root": root, "split": "random", **keys}))


def error_of(root: Path, **keys: object) -> str:
    with pytest.raises(CxrError) as error:
        read_padchest(root, **keys)
    return error.value.render().replace(f"{root}", "ROOT")


def cells_of(table: LabelTable, row: int, value: float) -> set[str]:
    return {name for name, cell in zip(table.findings, table.raw[row], strict=True) if cell == value}


def test_a_list_of_words_becomes_present_and_absent_findings(tmp_path: Path) -> None:
    table = read_padchest(write_padchest(tmp_path))
    assert set(NIH_14) < set(table.findings) and len(table) == len(PADCHEST_LABELS)
    assert cells_of(table, 0, 1) == {"No Finding"}
    assert cells_of(table, 1, 1) == {"Cardiomegaly", "Effusion"}
    assert cells_of(table, 7, 1) == {"Mass", "Infiltration", "Consolidation", "COPD Signs"}
    assert cells_of(table, 6, 1) == {"Pseudonodule"}
    assert not np.isnan(table.raw[[0, 1, 6, 7, 8]]).any()


def test_what_a_partial_list_does_not_name_is_blank(tmp_path: Path) -> None:
    table = read_padchest(write_padchest(tmp_path))
    assert cells_of(table, 2, 1) == {"Tube", "Support Devices"}
    assert cells_of(table, 9, 1) == {"Hernia", "Fracture"}
    assert not (table.raw[[2, 9]] == 0).any()


@pytest.mark.parametrize("row", [3, 4, 5])
def test_no_labels_an_empty_word_and_exclude_are_blank_throughout(tmp_path: Path, row: int) -> None:
    assert np.isnan(read_padchest(write_padchest(tmp_path)).raw[row]).all()


def test_rows_tell_patient_study_view_sex_and_age(tmp_path: Path) -> None:
    rows = read_padchest(write_padchest(tmp_path)).rows
    assert rows["patient_id"][:3].tolist() == ["83986048869429233"] * 2 + ["83986048869429234"]
    assert rows["view"][:4].tolist() == ["PA", "lateral", "AP", ""]
    assert rows["sex"][:3].tolist() == ["M", "F", ""] and rows["study_id"][1] == "study1"
    np.testing.assert_array_equal(rows["age"][:5], [84, 84, 84, 84, np.nan])
    assert rows["labelled_by"][:2].tolist() == ["Physician", "RNN_model"]


@pytest.mark.parametrize("flat", [True, False])
def test_images_are_found_in_folders_and_beside_the_table(tmp_path: Path, flat: bool) -> None:
    write_gzip(write_padchest(tmp_path, flat=flat) / PADCHEST_TABLE)
    table = read_padchest(tmp_path)
    (tmp_path / table.rows["path"][1]).unlink()
    assert read_file(tmp_path / table.rows["path"][0]).shape == (36, 32)
    assert read_padchest(tmp_path).rows["path"].eq("").tolist() == [False, True] + [False] * 8


@pytest.mark.parametrize(
    "cell", ["['mass'", "__import__('os')", "{'mass': 1}", "[1]", "mass", "[" * 300, "['a']*9"]
)
def test_labels_that_are_no_list_of_texts_are_refused_by_line(tmp_path: Path, cell: str) -> None:
    write_padchest(tmp_path, ["['mass']", cell])
    assert error_of(tmp_path) == (
        f"error: ROOT/{PADCHEST_TABLE}:3: Labels is {cell[:60]!r}\n"
        "hint: a list of words is like ['pleural effusion', 'cardiomegaly']"
    )


def test_a_missing_table_a_missing_patient_and_a_missing_column_are_named(tmp_path: Path) -> None:
    assert error_of(tmp_path).startswith(
        "error: ROOT: no label table of PadChest\nhint: looked for PADCHEST_chest_x_ray_images_labels_*.csv, "
    )
    write_lines(tmp_path / "x.csv", ["ImageID,PatientID,Labels", "a.png,,['normal']"])
    assert error_of(tmp_path, csv="x.csv").startswith("error: ROOT/x.csv:2: no patient in PatientID\n")
    write_lines(tmp_path / "x.csv", ["ImageID,Labels", "a.png,['normal']"])
    assert error_of(tmp_path, csv="x.csv").startswith("error: ROOT/x.csv: no column 'PatientID'\n")


OURS_ALONE = {"Support Devices": {"tube", "stent", "catheter", "valve", "dai"}}
THEIRS_ALONE = {
    "Effusion": {"pericardial effusion"},
    "Emphysema": {"subcutaneous emphysema"},
    "Mass": {"mediastinal mass", "soft tissue mass", "pleural mass", "breast mass"},
    "Nodule": {"pseudonodule"},
}
"""Words by which alone we (they) call an image that they (we) do not."""


@pytest.fixture(scope="module")
def full(xrv_data: Path) -> LabelTable:
    return read_labels(xrv_data / f"{PADCHEST_TABLE}.gz")


def test_the_full_table_agrees_with_torchxrayvision_but_for_the_words_that_are_stated(
    full: LabelTable, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchxrayvision as xrv

        theirs = xrv.datasets.PC_Dataset(tmp_path, views=["*"], unique_patients=False)
    table = full.select(
        full.rows.reset_index().set_index("image").loc[theirs.csv["ImageID"], "index"].to_numpy()
    )
    assert len(full) == 160_861 and len(table) == 158_616  # theirs drops the youngest
    for place, finding in enumerate(theirs.pathologies):
        ours = table.raw[:, table.findings.index(finding)] == 1
        for differ, words in (
            (ours & (theirs.labels[:, place] == 0), OURS_ALONE),
            (~ours & (theirs.labels[:, place] == 1), THEIRS_ALONE),
        ):
            pattern = "|".join(words.get(finding, {"nothing differs"}))
            assert theirs.csv["Labels"][differ].str.contains(pattern).all(), finding


def test_every_word_of_the_terms_is_in_the_full_table_and_blank_rows_are_as_pandas_counts_them(
    full: LabelTable, xrv_data: Path
) -> None:
    cells = pd.read_csv(xrv_data / f"{PADCHEST_TABLE}.gz", usecols=["Labels"])["Labels"]
    words = cells.fillna("['']").map(lambda cell: {word.strip() for word in ast.literal_eval(cell)})
    known = {word for terms in padchest.TERMS.values() for word in terms}
    assert known <= set().union(*words)
    partial = {"unchanged", "exclude", "suboptimal study"}
    nothing = words.map(lambda said: not said - {""} or bool(said & partial and not said & known))
    np.testing.assert_array_equal(np.isnan(full.raw).all(axis=1), nothing)
    assert (full.raw[:, full.findings.index("No Finding")] == 1).sum() == words.map(
        lambda said: "normal" in said
    ).sum()


def test_a_truncated_file_of_the_dataset_is_skipped_and_listed(tmp_path: Path) -> None:
    table = read_padchest(write_padchest(tmp_path / "dataset"))
    file = table.root / table.rows["path"][8]
    file.write_bytes(file.read_bytes()[:-40])
    data = {"source": "padchest", "root": table.root, "split": "random", "unreadable": "skip"}
    sections = {"image": {"store_size": 16}, "store": {"path": tmp_path / "store"}}
    dataset = open_dataset(Config.model_validate({"data": data, **sections}))
    assert dataset.dropped["unreadable"] == 1 and len(dataset.table) == len(table) - 1
    assert pd.read_csv(tmp_path / "store/unreadable.csv")["image"].tolist() == [table.rows["image"][8]]
