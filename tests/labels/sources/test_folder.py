from pathlib import Path

import pytest

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.labels.sources import read
from cxr.labels.splits import assign
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_image

KERMANY = (
    "train/NORMAL/IM-0115-0001.jpeg",
    "train/NORMAL/NORMAL2-IM-0032-0001.jpeg",
    "train/PNEUMONIA/person1_virus_1.jpeg",
    "train/PNEUMONIA/person1_virus_2.jpeg",
    "val/NORMAL/IM-0116-0001.jpeg",
    "val/PNEUMONIA/person2_bacteria_3.jpeg",
    "test/Normal/IM-0117-0001.jpeg", "test/PNEUMONIA/person3_virus_4.jpeg",
)  # fmt: skip


def read_folder(root: Path, *names: str, **keys: object) -> LabelTable:
    for name in names:
        write_image(root / name, 8)
    return read(Data.model_validate({"source": "folder", "root": root} | keys))


def test_kermanys_layout_gives_classes_splits_and_patients(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train/.DS_Store").write_bytes(b"\0")
    table = read_folder(tmp_path, *KERMANY)
    assert table.findings == ("Pneumonia", "No Finding")
    of = dict(zip(table.rows["image"], table.raw[:, 0], strict=True))
    assert of == {name: float("PNEUMONIA" in name) for name in KERMANY}
    assert (table.raw.sum(axis=1) == 1).all()
    patients = dict(zip(table.rows["image"], table.rows["patient_id"], strict=True))
    assert [patients[name] for name in KERMANY[:4]] == ["IM-0115", "NORMAL2-IM-0032", "person1", "person1"]
    split = assign(table, Data.model_validate({"source": "folder", "root": tmp_path}))
    assert [len(split.rows(name)) for name in ("train", "val", "test")] == [4, 2, 2]


@pytest.mark.parametrize("around", ["chest_xray/", "a/chest_xray/", "data/", ""])
@pytest.mark.parametrize("inside", ["", "images/"])
def test_folders_around_and_inside_count_for_nothing(tmp_path: Path, around: str, inside: str) -> None:
    names = [
        f"{around}{kind}/{inside}{n}.png" for kind in ("COVID", "Normal", "Viral Pneumonia") for n in range(2)
    ]
    table = read_folder(tmp_path, *names, f"{around}COVID/masks/0.png", "__MACOSX/._0.png", split="random")
    assert table.findings == ("COVID", "Viral Pneumonia", "No Finding") and len(table) == 6
    assert not table.names_patients


def test_folders_of_patients_are_named_by_a_key(tmp_path: Path) -> None:
    names = ["Mass/p1/a.png", "Mass/p1/b.png", "Normal/p2/a.png"]
    with pytest.raises(CxrError, match="its folders do not tell which is the class, such as Mass/p1"):
        read_folder(tmp_path, *names, split="random")
    table = read_folder(tmp_path, split="random", folders=["class", "patient"])
    assert table.rows["patient_id"].tolist() == ["p1", "p1", "p2"] and table.findings == (
        "Mass",
        "No Finding",
    )


def test_a_patient_in_two_folders_of_splits_is_a_leak_with_a_way_out(tmp_path: Path) -> None:
    names = ["train/A/person1_virus_1.png", "test/A/person1_bacteria_2.png", "train/B/person3_x_1.png"]
    table = read_folder(tmp_path, *names)
    data = Data.model_validate({"source": "folder", "root": tmp_path})
    with pytest.raises(CxrError, match="patient person1 is in train and test") as error:
        assign(table, data)
    assert "data.columns.patient=null" in error.value.hint
    assert not read_folder(tmp_path, columns={"patient": None}).names_patients


def test_names_that_tell_no_patient_are_counted(tmp_path: Path) -> None:
    table = read_folder(tmp_path, "A/person1_virus_1.png", "A/scan.png", "B/x.png", split="random")
    assert table.names_patients and table.rows["patient_id"].tolist() == ["person1", "A/scan.png", "B/x.png"]
    assert table.notes[0].startswith("the names of 2 images of 3 tell no patient, such as A/scan.png: ")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ((), "no image in it"),
        (("a.png",), "its folders do not tell which is the class, such as none at all"),
        (("A/a.png", "B/deep/b.png"), "images lie at different depths, A and B/deep"),
    ],
)
def test_what_cannot_be_told_is_asked(tmp_path: Path, names: tuple[str, ...], what: str) -> None:
    with pytest.raises(CxrError, match=what):
        read_folder(tmp_path, *names, split="random")
