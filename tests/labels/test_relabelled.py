import gzip
from pathlib import Path

import pytest

from cxr.labels.label_csv import read_labels
from cxr.labels.sources.nih import FINDINGS
from tests.helpers.fakes import write_lines

GOOGLE = [
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "Fracture,Pneumothorax,Airspace opacity,Nodule or mass,Set Id",
    "a.png,No Finding,8,13,60,M,AP,NO,NO,YES,NO,test",
    "b.png,Pneumothorax,0,14,50,F,PA,YES,YES,NO,NO,val",
]


def test_googles_table_is_read_for_what_radiologists_said(tmp_path: Path) -> None:
    table = read_labels(write_lines(tmp_path / "google.csv", GOOGLE))
    assert table.findings == ("Fracture", "Pneumothorax", "Lung Opacity", "Nodule/Mass")
    assert table.raw.tolist() == [[0, 0, 1, 0], [1, 1, 0, 0]]
    assert table.rows[["image", "patient_id", "study_id", "view", "sex"]].to_numpy().tolist() == [
        ["a.png", "13", "13/8", "AP", "M"],
        ["b.png", "14", "14/0", "PA", "F"],
    ]
    assert set(table.rows["split"]) == {""}  # Google's sets are not splits of ours


def test_nihs_own_table_is_still_nihs(tmp_path: Path) -> None:
    lines = ["Image Index,Finding Labels,Patient ID", "a.png,Mass,1"]
    assert read_labels(write_lines(tmp_path / "nih.csv", lines)).findings == FINDINGS


def test_all_of_googles_images_have_the_counts_of_the_release(xrv_data: Path) -> None:
    path = xrv_data / "google2019_nih-chest-xray-labels.csv.gz"
    table = read_labels(path)
    assert (len(table), table.rows["patient_id"].nunique()) == (4376, 1695)
    # counted in the text of the file
    lines = gzip.open(path, "rt").read().splitlines()
    places = [lines[0].split(",").index(name) for name in ("Fracture", "Airspace opacity")]
    counts = [sum(line.split(",")[place] == "YES" for line in lines[1:]) for place in places]
    assert [int(table.raw[:, column].sum()) for column in (0, 2)] == counts


@pytest.mark.parametrize("image", ["Image Index", "patientId"])
def test_an_image_with_a_box_of_rsnas_has_an_opacity(tmp_path: Path, image: str) -> None:
    lines = [f"{image},x,y,width,height,Target", "a,,,,,0", "b,1,2,3,4,1", "b,5,6,7,8,1"]
    table = read_labels(write_lines(tmp_path / "boxes.csv", lines))
    assert (table.findings, table.raw.tolist()) == (("Lung Opacity",), [[0], [1]])
    assert table.rows["image"].tolist() == ["a", "b"]
