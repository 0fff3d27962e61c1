from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Data, Phantom
from cxr.errors import CxrError
from cxr.findings import CHEXPERT_14, NIH_14
from cxr.labels.sources.phantom import read
from cxr.phantom import dataset as phantom
from cxr.phantom.exams import PREVALENCE, plan
from cxr.phantom.findings import radiograph

NIH = Phantom(num_images=60, size=64)
CHEXPERT = Phantom(num_images=60, size=64, layout="chexpert")


@pytest.fixture(scope="module")
def nih(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nih") / "root"
    phantom.generate(root, NIH)
    return root


@pytest.fixture(scope="module")
def chexpert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chexpert") / "root"
    phantom.generate(root, CHEXPERT)
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def shape(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image.shape[0], image.shape[1]


def labels(root: Path) -> dict[str, set[str]]:
    entries = pd.read_csv(root / "Data_Entry_2017_v2020.csv")
    return {
        name: set(text.split("|")) - {"No Finding"}
        for name, text in zip(entries["Image Index"], entries["Finding Labels"], strict=True)
    }


@pytest.mark.parametrize("layout", ["nih", "chexpert"])
def test_files_are_the_same_whatever_the_workers(tmp_path: Path, layout: str) -> None:
    settings = Phantom.model_validate({"num_images": 12, "size": 64, "layout": layout})
    for workers in (1, 3):
        phantom.generate(tmp_path / str(workers), settings, workers)
    assert files(tmp_path / "1") == files(tmp_path / "3")


def test_an_image_does_not_depend_on_how_many_are_generated(nih: Path, tmp_path: Path) -> None:
    phantom.generate(tmp_path / "few", Phantom(num_images=5, size=64))
    few, many = files(tmp_path / "few" / "images"), files(nih / "images")
    assert few == {name: many[name] for name in few}


def test_another_seed_gives_other_images(nih: Path, tmp_path: Path) -> None:
    phantom.generate(tmp_path / "other", Phantom(num_images=5, size=64, seed=-1))
    assert not set(files(tmp_path / "other" / "images").values()) & set(files(nih / "images").values())


def test_the_nih_layout_has_its_header_and_every_listed_image(nih: Path) -> None:
    header = (nih / "Data_Entry_2017_v2020.csv").read_text().splitlines()[0]
    assert header.endswith("OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]")
    lists = [(nih / name).read_text().split() for name in ("train_val_list.txt", "test_list.txt")]
    assert sorted(lists[0] + lists[1]) == sorted(path.name for path in (nih / "images").iterdir())
    assert all(shape(nih / "images" / name) == (64, 64) for name in lists[1])


def test_no_patient_is_in_both_lists(nih: Path) -> None:
    train, test = (
        {name[:8] for name in (nih / file).read_text().split()}
        for file in ("train_val_list.txt", "test_list.txt")
    )
    assert train and test and not train & test


def test_patients_grow_older_and_keep_their_sex(nih: Path) -> None:
    entries = pd.read_csv(nih / "Data_Entry_2017_v2020.csv")
    for _, patient in entries.groupby("Patient ID"):
        assert patient["Patient Age"].is_monotonic_increasing and patient["Patient Gender"].nunique() == 1
        assert list(patient["Follow-up #"]) == list(range(len(patient)))


def test_every_finding_occurs_and_so_does_none(nih: Path) -> None:
    assert set().union(*labels(nih).values()) == set(NIH_14)
    assert set() in labels(nih).values()


def test_boxes_lie_in_the_image_and_match_the_labels(nih: Path) -> None:
    boxes = pd.read_csv(
        nih / "BBox_List_2017.csv", usecols=range(6), header=0, names=["image", "name", *"xywh"]
    )
    assert (boxes[["x", "y"]] >= 0).all(axis=None) and (boxes[["w", "h"]] >= 1).all(axis=None)
    assert (boxes.x + boxes.w).max() <= 64 and (boxes.y + boxes.h).max() <= 64
    found = boxes.groupby("image")["name"].agg(set).to_dict()
    assert found == {image: names for image, names in labels(nih).items() if names}


def test_findings_change_pixels_inside_their_boxes() -> None:
    chest = plan(NIH.num_images, NIH.seed)[0].chest
    normal, _ = radiograph(chest, frozenset(), (64, 64), np.random.default_rng(0))
    drawn, boxes = radiograph(chest, frozenset({"Mass"}), (64, 64), np.random.default_rng(0))
    x, y, w, h = boxes["Mass"]
    change = np.abs(drawn.astype(int) - normal)
    assert change[y : y + h, x : x + w].mean() > 5 * np.median(change)


def test_the_smallest_picture_has_a_box_for_each_finding() -> None:
    everything = frozenset(PREVALENCE)
    for seed in range(20):
        chest = plan(1, seed)[0].chest
        _, boxes = radiograph(chest, everything, (32, 32), np.random.default_rng(seed))
        assert set(boxes) == everything and min(min(w, h) for _, _, w, h in boxes.values()) >= 1


def test_chexpert_cells_are_its_own_values(chexpert: Path) -> None:
    train, valid, test = (
        pd.read_csv(chexpert / f"{split}.csv", dtype=str, keep_default_na=False)
        for split in ("train", "valid", "test")
    )
    assert list(train.columns) == ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_14]
    assert set(train[list(CHEXPERT_14)].to_numpy().ravel()) == {"1.0", "0.0", "-1.0", ""}
    assert set(train["No Finding"]) <= {"1.0", ""}
    for table in (valid, test):
        assert set(table[list(CHEXPERT_14)].to_numpy().ravel()) == {"1.0", "0.0"}


def test_chexpert_paths_lead_to_images_and_boxes_lie_in_them(chexpert: Path) -> None:
    boxes = pd.read_csv(chexpert / "boxes.csv")
    assert set(boxes.finding) == set(CHEXPERT_14) - {"No Finding"}
    for path, here in boxes.groupby("Path"):
        height, width = shape(chexpert / str(path).partition("/")[2])
        assert width == 64 and 53 <= height <= 64
        assert (here.x + here.w).max() <= width and (here.y + here.h).max() <= height


def test_chexpert_boxes_are_the_positive_observations_of_the_test_set(chexpert: Path) -> None:
    test = pd.read_csv(chexpert / "test.csv", index_col="Path")
    boxes = pd.read_csv(chexpert / "boxes.csv").groupby("Path")["finding"].agg(set)
    for path, row in test[list(CHEXPERT_14)].iterrows():
        assert set(row.index[row == 1]) - {"No Finding"} == boxes.get(str(path), set())


def test_a_generation_that_stops_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("cxr.phantom.nih.write_tables", fail)
    with pytest.raises(OSError, match="disk full"):
        phantom.generate(tmp_path / "root", Phantom(num_images=2, size=32))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CxrError, match="exists already and is not an empty folder"):
        phantom.generate(tmp_path, Phantom(num_images=2, size=32))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("layout", ["nih", "chexpert"])
def test_reading_generates_once_and_keeps_the_labels(tmp_path: Path, layout: str) -> None:
    settings = {"num_images": 20, "size": 32, "layout": layout}
    data = Data.model_validate({"source": "phantom", "root": tmp_path / "root", "phantom": settings})
    first, before = read(data), files(data.root)
    again = read(data.model_copy(update={"phantom": Phantom(num_images=3, layout="nih")}))
    assert len(first) == len(again) == 20 and files(data.root) == before
    assert first.rows.path.ne("").all() and (first.raw == 1).any()
