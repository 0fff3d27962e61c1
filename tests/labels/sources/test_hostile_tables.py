"""Tables as people have them, by one rule for every reader: nothing is dropped or joined in silence."""

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cxr.config.schema import Config, Data
from cxr.data.dataset import list_dataset, open_dataset
from cxr.data.manifest import make_manifest
from cxr.data.store import open_store
from cxr.errors import CxrError
from cxr.fields.identity import normalise_ids
from cxr.fields.views import read_view
from cxr.images.prepare import Preprocess
from cxr.labels.choose import choose_columns
from cxr.labels.sheet import read_sheet
from cxr.labels.sources import padchest, read
from cxr.labels.split_lists import read_names
from cxr.labels.splits import assign
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_image, write_lines, write_padchest

Read = Callable[..., LabelTable]
NUM = 6


@pytest.fixture
def table(tmp_path: Path) -> Read:
    """Reads a table of these lines beside a0.png to a5.png."""
    for row in range(NUM):
        write_image(tmp_path / f"a{row}.png")

    def read_lines(*lines: str, **keys: object) -> LabelTable:
        write_lines(tmp_path / "labels.csv", lines)
        known = {"source": "table", "root": tmp_path, "csv": "labels.csv", "split": "random"}
        return read(Data.model_validate(known | keys))

    return read_lines


@pytest.mark.parametrize(
    "heading", ["patientId,Patient ID", "patient_id,MRN", "Patient ID,subject", "patient_id,pid"]
)
def test_two_columns_that_group_patients_differently_are_refused(table: Read, heading: str) -> None:
    nested = [f"a{row}.png,v{row},{row // 2},{row % 2}" for row in range(NUM)]
    with pytest.raises(CxrError, match="may name the patient, and they differ") as error:
        table(f"image,{heading},Edema", *nested)
    other = heading.split(",")[1]
    keep = {"columns": {"others": [other]}}
    assert "data.columns.others=[" in error.value.hint
    assert table(f"image,{heading},Edema", *nested, **keep).rows["patient_id"].nunique() == NUM
    same = [f"a{row}.png,v{row // 2},{row // 2},{row % 2}" for row in range(NUM)]
    assert table(f"image,{heading},Edema", *same).rows["patient_id"].nunique() == NUM // 2


def test_one_file_under_several_names_is_one_image(table: Read, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    names = ("a0.png", "a0", f"{tmp_path}/a0.png", "sub/../a0.png")
    found = table("image,patient_id,Edema", *(f"{name},p,1" for name in names), "a1,q,0")
    assert found.rows["image"].tolist() == ["a0.png", "a1"]
    for other in names[1:]:
        with pytest.raises(CxrError, match="Edema is 1 here and 0 at"):
            table("image,patient_id,Edema", "a0.png,p,0", f"{other},p,1")
        with pytest.raises(CxrError, match="is of patient 'q' here and 'p' at"):
            table("image,patient_id,Edema", "a0.png,p,0", f"{other},q,0")


def test_a_word_for_nothing_among_whole_numbers_changes_no_other_id() -> None:
    assert normalise_ids(["12.0", "nan", "7.0", ""]) == ["12", "nan", "7", ""]
    assert normalise_ids(["12,0", "7"]) == ["12", "7"]
    assert normalise_ids(["1,000", "2"]) == ["1,000", "2"]


@pytest.mark.parametrize("number", ["1.2345E+15", "1,2345E+15", "8E+16"])
def test_rounded_ids_are_refused_for_every_kind_of_id(table: Read, number: str) -> None:
    for heading in ("image,study_id,patient_id", "image,patient_id,study_id"):
        with pytest.raises(CxrError, match="a rounded number"):
            table(f"{heading},Edema", f'a0.png,1,"{number}",0')


@pytest.mark.parametrize(
    "cell", ["['Edema', 'Mass']", "['Edema' 'Mass']", "{Edema,Mass}", "('Edema', 'Mass')", "Edema;Mass"]
)
def test_lists_are_read_however_they_are_written(table: Read, cell: str) -> None:
    found = table(
        "image,patient_id,finding", f'a0.png,p,"{cell}"', "a1.png,q,Mass", columns={"labels": "finding"}
    )
    assert found.findings == ("Edema", "Mass")
    np.testing.assert_array_equal(found.raw, [[1, 1], [0, 1]])


def test_words_that_are_no_finding_asked_for_are_counted(table: Read) -> None:
    lines = ["a0.png,p,Edema", "a1.png,q,Edmea", "a2.png,r,Edmea", "a3.png,s,No Finding"]
    found = table("image,patient_id,finding", *lines, columns={"labels": "finding"}, findings=["Edema"])
    assert found.notes == ("words of column finding that are none of the findings here: Edmea (2 rows)",)


def test_words_of_padchest_count_in_any_spelling_and_others_are_told(tmp_path: Path) -> None:
    lists = [
        "['Pleural Effusion']",
        "['pleural_effusion' 'CARDIOMEGALY']",
        "['normal']",
        "['apple', 'nodule']",
    ]
    root = write_padchest(tmp_path, lists)
    found = read(
        Data.model_validate({"source": "padchest", "root": root, "split": "random", "missing": "skip"})
    )
    columns = [padchest.FINDINGS.index(name) for name in ("Effusion", "Cardiomegaly", "Nodule")]
    np.testing.assert_array_equal(found.raw[:, columns], [[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert found.notes == ("words in Labels that are no finding here, blanks left out: apple (1)",)


def test_a_class_folder_that_is_a_link_is_a_class_and_no_circle_is_endless(tmp_path: Path) -> None:
    write_image(tmp_path / "elsewhere" / "1.png")
    write_image(tmp_path / "root" / "NORMAL" / "2.png")
    (tmp_path / "root" / "COVID").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "NORMAL" / "up").symlink_to(tmp_path)
    found = read(Data.model_validate({"source": "folder", "root": tmp_path / "root", "split": "random"}))
    assert found.rows["image"].tolist() == ["COVID/1.png", "NORMAL/2.png"]


def test_box_columns_are_no_labels(table: Read) -> None:
    found = table("image,patient_id,x_min,y_min,x_max,y_max,Edema", "a0.png,p,1,2,3,4,1", "a1.png,q,,,,,0")
    assert found.findings == ("Edema",)


def test_a_known_finding_whose_cells_are_no_labels_is_asked_about(tmp_path: Path) -> None:
    write_lines(tmp_path / "x.csv", ["Mass,Pneumonia,remark", "1,x,why", "0,,z"])
    with pytest.raises(CxrError, match=r"x\.csv:2: Pneumonia is 'x', no label"):
        choose_columns(read_sheet(tmp_path / "x.csv"), (), None)
    assert list(choose_columns(read_sheet(tmp_path / "x.csv"), ("Pneumonia",), None).columns) == ["Mass"]


def test_files_are_found_by_whole_numbers(tmp_path: Path) -> None:
    for name in ("12.png", "7.png"):
        write_image(tmp_path / name)
    write_lines(tmp_path / "x.csv", ["image,patient_id,Edema", "12.0,1,1", "7.0,2,0"])
    known = {"source": "table", "root": tmp_path, "csv": "x.csv", "split": "random"}
    assert read(Data.model_validate(known)).rows["path"].tolist() == ["12.png", "7.png"]


def test_images_of_series_below_a_study_are_the_studys(tmp_path: Path) -> None:
    for name in ("s1/ser1/1.png", "s1/ser2/2.png", "s2/3.png"):
        write_image(tmp_path / name)
    write_lines(tmp_path / "x.csv", ["study_id,patient_id,Edema", "s1,1,1", "s2,2,0"])
    known = {"source": "table", "root": tmp_path, "csv": "x.csv", "split": "random"}
    found = read(Data.model_validate(known))
    assert found.rows["image"].tolist() == ["s1/ser1/1.png", "s1/ser2/2.png", "s2/3.png"]
    assert found.raw[:, 0].tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    "text",
    [
        "image;Edema (yes, no, unclear, none)\na;1\nb;0\n",
        "\n\nimage;Edema (yes, no, unclear, none);\na;1\nb;0\n",
        "image\tEdema (yes, no, unclear, none)\r\na\t1\r\nb\t0\r\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_separators_are_those_that_divide_all_lines_alike(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "x.csv").write_bytes(text.encode(encoding))
    sheet = read_sheet(tmp_path / "x.csv")
    assert sheet.column("image") == ["a", "b"] and sheet.column("Edema (yes, no, unclear, none)") == [
        "1",
        "0",
    ]


@pytest.mark.parametrize(
    ("word", "view"),
    [
        ("P.A.", "PA"),
        ("a.p. supine", "AP"),
        ("p-a", "PA"),
        ("L", "lateral"),
        ("L-spine", "L-spine"),
        ("LL", "lateral"),
    ],
)
def test_views_with_points_and_hyphens(word: str, view: str) -> None:
    assert read_view(word) == view


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["Image Index", "a", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (["a.png;1", "b.png;0"], ["a.png", "b.png"]),
    ],
)
def test_lists_of_names_without_endings_and_in_any_encoding(
    tmp_path: Path, lines: Sequence[str], expected: object
) -> None:
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "list.txt").write_bytes("\n".join(lines).encode(encoding))
        assert read_names(tmp_path / "list.txt") == expected


def test_spellings_of_one_split_are_one(table: Read) -> None:
    lines = ["a0.png,p,Train,1", "a0.png,p,train,1", "a1.png,q,valid,0", "a1.png,q,val,0", "a2.png,r,NA,0"]
    found = table("image,patient_id,split,Edema", *lines, split="column", columns={})
    assert found.rows["split"].tolist() == ["train", "val", ""]


def test_a_file_that_two_datasets_put_in_two_splits_is_refused(table: Read, tmp_path: Path) -> None:
    lines = [f"a{row}.png,{{}}{row},{row % 2},{'train' if row % 2 else 'test'}" for row in range(NUM)]
    write_lines(tmp_path / "a.csv", ["image,patient_id,Edema,split", *(line.format("p") for line in lines)])
    swapped = [line.replace("train", "x").replace("test", "train").replace("x", "test") for line in lines]
    write_lines(tmp_path / "b.csv", ["image,patient_id,Edema,split", *(line.format("q") for line in swapped)])
    data = {"source": "table", "root": tmp_path, "csv": "a.csv", "split": "column", "name": "A"}
    also = data | {"csv": "b.csv", "name": "B"}
    with pytest.raises(CxrError, match=r"a1\.png is in two datasets, in another split of each"):
        list_dataset(Config.model_validate({"data": data | {"also": [also]}}))


def test_a_column_without_a_name_is_accounted_for(table: Read) -> None:
    found = table("image,patient_id,Edema,,", "a0.png,p,1,1,", "a1.png,q,0,0,")
    assert [(use.column, use.why) for use in found.columns if not use.use] == [("column 4", "has no name")]


def test_file_names_that_are_no_utf8_are_split_and_listed(tmp_path: Path) -> None:
    for name in (b"A/x\xe9_1.png", b"A/y.png", b"B/z.png", b"B/\xff.png"):
        write_image(tmp_path / os.fsdecode(name))
    keys = {
        "source": "folder",
        "root": tmp_path,
        "split": "random",
        "val_fraction": 0.25,
        "test_fraction": 0.25,
    }
    data = Data.model_validate(keys)
    split = assign(read(data), data)
    assert sorted(split.assigned) == ["test", "train", "train", "val"]
    config = Config.model_validate(
        {"data": keys, "store": {"path": tmp_path / "store"}, "image": {"store_size": 32}}
    )
    assert open_dataset(config).store.readable.sum() == 4


def test_a_store_that_may_not_be_read_is_not_called_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(CxrError) as error:
        open_store(tmp_path, make_manifest("nih", ["a"], Preprocess(32)))
    assert error.value.render().startswith(f"error: {tmp_path}: Permission denied\nhint: check the path")
