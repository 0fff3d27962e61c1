from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.explain.boxes import BoxFile, TrueBox, read_boxes
from cxr.explain.cases import Image
from cxr.explain.localise import draw_mask
from cxr.explain.prior import Prior
from cxr.explain.score import score_boxes
from cxr.explain.summarise import COLUMNS, MAPS, Scored, summarise
from cxr.images.box import Box
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import Checkpoint

EVAL = Eval(draws=100)


@pytest.fixture(scope="module")
def checkpoint(run: Path) -> Checkpoint:
    return checkpoints.load(run)


@pytest.fixture
def images(nih_root: Path) -> list[Image]:
    files = sorted((nih_root / "images").iterdir())
    return [Image(file.name, file, file.name[:8]) for file in files]


def score(checkpoint: Checkpoint, images: list[Image], *boxes: TrueBox) -> Scored:
    file = BoxFile(Path("boxes.csv"), "table", boxes, ())
    return score_boxes(checkpoint, file, images, None, "cam", EVAL)


def test_every_finding_is_scored_beside_all_others(
    checkpoint: Checkpoint, images: list[Image], nih_root: Path
) -> None:
    file = read_boxes(nih_root / "BBox_List_2017.csv")
    scored = score_boxes(checkpoint, file, images, None, "cam", EVAL)
    assert tuple(scored.table.columns) == COLUMNS
    for finding, part in scored.table.groupby("finding"):
        boxes = [box for box in file.boxes if isinstance(box, TrueBox) and box.finding == finding]
        assert tuple(part["map"]) == MAPS
        assert set(part["num_boxes"]) == {len(boxes)}
        areas = [box.corners[2] * box.corners[3] / 48**2 for box in boxes]
        chance = part[part["map"] == "chance"].iloc[0]
        for score_name in ("pointing", "hit", "mass", "miou"):
            assert chance[score_name] == pytest.approx(np.mean(areas))
    shares = scored.table[[name for name in COLUMNS if name.startswith(("iou_", "iobb_"))]].to_numpy()
    assert ((shares >= 0) & (shares <= 1)).all()


def test_boxes_of_seen_patients_are_left_out_and_counted(checkpoint: Checkpoint, images: list[Image]) -> None:
    seen = [Image(image.name, image.path, image.patient, number == 0) for number, image in enumerate(images)]
    boxes = [TrueBox(image.name, "Mass", (5, 5, 9, 9), 2) for image in seen[:3]]
    scored = score(checkpoint, seen, *boxes)
    assert scored.table["num_boxes"].tolist() == [2] * len(MAPS)
    assert scored.notes[0] == "left out: 1 box of patients that the model has seen in training or validation"


def test_boxes_that_cannot_be_scored_are_counted(checkpoint: Checkpoint, images: list[Image]) -> None:
    boxes = [
        TrueBox(images[0].name, "Mass", (5, 5, 9, 9), 2),
        TrueBox(images[0].name, "Fracture", (5, 5, 9, 9), 3),
        TrueBox("gone.png", "Mass", (5, 5, 9, 9), 4),
        TrueBox(images[1].name, "Mass", (40, 40, 20, 20), 5),
    ]
    assert score(checkpoint, images, *boxes).notes == (
        "left out: 1 box of Fracture, which the model does not predict",
        "left out: 1 box of images that are not in the dataset or have no file",
        "cut at the edge of the image: 1 box",
    )
    with pytest.raises(CxrError, match="no box can be scored: left out: 1 box of Fracture"):
        score(checkpoint, images, boxes[1])


def test_a_box_outside_its_image_is_named_with_its_line(checkpoint: Checkpoint, images: list[Image]) -> None:
    with pytest.raises(CxrError, match=r"boxes.csv:7: the box is outside its image of 48 x 48 pixels"):
        score(checkpoint, images, TrueBox(images[0].name, "Mass", (100, 5, 9, 9), 7))


def test_lung_opacity_is_one_row_of_three_findings(checkpoint: Checkpoint, images: list[Image]) -> None:
    scored = score(checkpoint, images, TrueBox(images[0].name, "Lung Opacity", (5, 5, 9, 9), 2))
    assert scored.table["finding"].unique().tolist() == ["Lung Opacity"]


def test_two_boxes_of_an_image_are_one_image(checkpoint: Checkpoint, images: list[Image]) -> None:
    boxes = [TrueBox(images[0].name, "Mass", (x, 5, 9, 9), 2) for x in (2, 30)]
    model = score(checkpoint, images, *boxes).table.iloc[0]
    assert (model["num_images"], model["num_boxes"], model["num_patients"]) == (1, 2, 1)


def rows(values: dict[str, list[float]], patients: list[str]) -> pd.DataFrame:
    """Scores of images by the name of the map."""
    table = []
    for name in MAPS:
        for number, patient in enumerate(patients):
            value = values.get(name, [0.0] * len(patients))[number]
            row: dict[str, object] = dict.fromkeys(COLUMNS, value)
            table.append(row | {"finding": "Mass", "map": name, "patient_id": patient, "image": f"i{number}",
                                "num_boxes": 1})  # fmt: skip
    return pd.DataFrame(table)


def test_an_interval_is_that_of_patients_and_not_of_images() -> None:
    patients = [f"p{number // 5}" for number in range(50)]
    values = [float(number // 5 % 2) for number in range(50)]
    wide = summarise(rows({"model": values}, patients), Eval(draws=400))[0].iloc[0]
    narrow = summarise(rows({"model": values}, patients), Eval(draws=400, interval="images"))[0].iloc[0]
    assert wide["pointing"] == narrow["pointing"] == 0.5
    ratio = (wide["pointing_high"] - wide["pointing_low"]) / (
        narrow["pointing_high"] - narrow["pointing_low"]
    )
    assert 1.8 < ratio < 2.9  # of the square root of 5 images a patient


def test_the_model_is_apart_where_its_interval_lies_above_the_others() -> None:
    patients = [f"p{number}" for number in range(40)]
    good, bad = [1.0] * 39 + [0.0], [0.0] * 30 + [1.0] * 10
    assert summarise(rows({"model": good, "prior": bad}, patients), EVAL)[0].iloc[0]["apart"]
    assert not summarise(rows({"model": good, "prior": good}, patients), EVAL)[0].iloc[0]["apart"]
    assert summarise(rows({"model": good, "frequent": good}, patients), EVAL)[0].iloc[0]["apart"]


def test_one_patient_has_no_interval_and_is_apart_from_nothing() -> None:
    table, _, notes = summarise(rows({"model": [1.0, 1.0]}, ["p", "p"]), EVAL)
    assert np.isnan(table.iloc[0]["pointing_low"]) and not table.iloc[0]["apart"]
    assert notes == ["no intervals for Mass: fewer than two patients"]


def test_a_prior_is_made_of_other_patients_alone() -> None:
    prior = Prior()
    prior.add("Mass", "a", [Box(0, 0, 32, 32)], draw_mask([Box(0, 0, 32, 32)], (64, 64)))
    prior.add("Mass", "b", [Box(16, 8, 16, 16)], draw_mask([Box(16, 8, 16, 16)], (64, 64)))
    prior.add("Mass", "c", [Box(32, 24, 16, 16)], draw_mask([Box(32, 24, 16, 16)], (64, 64)))
    maps = prior.maps("Mass", "a", (64, 64))
    np.testing.assert_array_equal(maps["prior"] > 0, draw_mask([Box(24, 16, 16, 16)], (64, 64)))
    expected = draw_mask([Box(16, 8, 16, 16), Box(32, 24, 16, 16)], (64, 64))
    np.testing.assert_array_equal(maps["frequent"] > 0, expected)
    assert not prior.maps("Nodule", "a", (64, 64))["prior"].any()
