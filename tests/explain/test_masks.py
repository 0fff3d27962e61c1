import json
from pathlib import Path

import numpy as np
import pytest

from cxr.arrays import Bool
from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.explain import localise
from cxr.explain.boxes import BoxFile, TrueBox, TrueMask
from cxr.explain.cases import Case, Image, gather, place
from cxr.explain.masks import read_marks
from cxr.explain.rle import check_runs, draw_runs, read_counts
from cxr.explain.score import score_boxes
from cxr.images.box import Box
from cxr.model import checkpoint as checkpoints

RNG = np.random.default_rng(0)
NAME = "patient1_study1_view1_frontal"
IMAGE = Image("valid/patient1/study1/view1_frontal.jpg", Path("x.jpg"), "1")


def lengths_of(mask: Bool) -> list[int]:
    """Lengths of runs down the columns, of 0 first."""
    lengths, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            lengths.append(0)
            value = not value
        lengths[-1] += 1
    return lengths


def to_counts(lengths: list[int]) -> str:
    """COCO's text, as rleToString of its maskApi.c writes it."""
    text = ""
    for index, length in enumerate(lengths):
        number = length - lengths[index - 2] if index > 2 else length
        more = True
        while more:
            bits = number & 0x1F
            number >>= 5
            more = number != -1 if bits & 0x10 else number != 0
            text += chr((bits | 0x20 if more else bits) + 48)
    return text


def entry(mask: Bool) -> dict[str, object]:
    return {"size": list(mask.shape), "counts": to_counts(lengths_of(mask))}


def write(folder: Path, content: object) -> Path:
    path = folder / "masks.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def rectangle(shape: tuple[int, int], *boxes: Box) -> Bool:
    return localise.draw_mask(boxes, shape)


def mark(mask: Bool, finding: str = "Mass", image: str = NAME) -> TrueMask:
    return TrueMask(image, finding, mask.shape, check_runs(lengths_of(mask), mask.shape))


def test_the_counts_of_coco_are_decoded() -> None:
    # 2 rows and 3 columns; the middle column and the lower right pixel: 2 zeros, 2 ones, 1 zero, 1 one
    assert read_counts("221O") == [2, 2, 1, 1]
    np.testing.assert_array_equal(draw_runs(np.array([2, 2, 1, 1]), (2, 3)), [[0, 1, 0], [0, 1, 1]])


def test_every_mask_comes_back_from_its_counts() -> None:
    shapes = [(1, 1), (7, 5), (64, 100), (300, 200)]
    for number, shape in enumerate(shapes * 5):
        mask = RNG.random(shape) < (0.5, 0.01, 0.99, 0.0)[number % 4]
        lengths = read_counts(to_counts(lengths_of(mask)))
        np.testing.assert_array_equal(draw_runs(check_runs(lengths, shape), shape), mask)


def test_masks_are_read_and_empty_ones_counted(tmp_path: Path) -> None:
    mask = rectangle((30, 20), Box(3, 4, 5, 6))
    content = {NAME: {"Mass": entry(mask), "Edema": entry(np.zeros((30, 20), bool))}}
    file = read_marks(write(tmp_path, content))
    (read,) = file.boxes
    assert isinstance(read, TrueMask) and (read.image, read.finding, file.num_empty) == (NAME, "Mass", 1)
    np.testing.assert_array_equal(draw_runs(read.runs, read.size), mask)


@pytest.mark.parametrize(
    ("mask", "problem"),
    [
        ({"size": [4, 4], "counts": "4"}, "counts hold 4 pixels, and its size is 4 x 4"),
        ({"size": [4, 4], "counts": "4 "}, "counts hold ' ', which COCO does not write"),
        ({"size": [4, 4], "counts": "T"}, "counts end within a number"),
        ({"size": [4, 4], "counts": "O"}, "counts have a negative length"),
        ({"size": [0, 4], "counts": ""}, r"size is not \[height, width\] in pixels"),
        ({"size": [10**6, 10**6], "counts": ""}, "a mask of 1000000 x 1000000 pixels is too large"),
        ({"size": [4, 4], "counts": [16]}, "counts are no text"),
        ("none", r"size is not \[height, width\] in pixels"),
    ],
)
def test_a_mask_that_cannot_be_decoded_is_named(tmp_path: Path, mask: object, problem: str) -> None:
    path = write(tmp_path, {NAME: {"Mass": mask}})
    with pytest.raises(CxrError, match=f"{NAME}, Mass: {problem}"):
        read_marks(path)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', "[" * 100_000])
def test_another_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(CxrError, match=r"masks\.json: is no"):
        read_marks(write(tmp_path, text))


def located(
    file: BoxFile, shape: tuple[int, int], findings: tuple[str, ...] = ("Mass",)
) -> tuple[Bool, list[Box]]:
    (case,), _ = gather(file, [IMAGE], findings)
    mask, boxes, _ = place(case, file, shape, None)
    return mask, boxes


def test_a_mask_finds_its_image_by_patient_study_and_view() -> None:
    mask = rectangle((30, 20), Box(1, 2, 3, 4), Box(10, 20, 5, 5))
    file = BoxFile(Path("m.json"), "chexlocalize", (mark(mask),), ())
    found, boxes = located(file, (30, 20))
    np.testing.assert_array_equal(found, mask)
    assert set(boxes) == {Box(1, 2, 3, 4), Box(10, 20, 5, 5)}


def test_a_mask_shrinks_with_its_image_and_does_not_vanish() -> None:
    file = BoxFile(Path("m.json"), "chexlocalize", (mark(rectangle((300, 200), Box(20, 40, 60, 80))),), ())
    assert located(file, (30, 20))[1] == [Box(2, 4, 6, 8)]
    dot = BoxFile(Path("m.json"), "chexlocalize", (mark(rectangle((300, 200), Box(25, 45, 1, 1))),), ())
    assert located(dot, (30, 20))[1] == [Box(2, 4, 1, 1)]


def test_a_mask_of_another_shape_is_refused() -> None:
    file = BoxFile(Path("m.json"), "chexlocalize", (mark(rectangle((300, 200), Box(2, 4, 6, 8))),), ())
    problem = f"m.json: {NAME}, Mass: the mask has 200 x 300 pixels, and its image 30 x 30"
    with pytest.raises(CxrError, match=problem):
        located(file, (30, 30))


def test_boxes_of_several_readers_are_united() -> None:
    boxes = [
        TrueBox("view1_frontal", "Mass", corners, 2)
        for corners in ((1, 1, 4, 4), (3, 3, 4, 4), (15, 20, 2, 3))
    ]
    mask, found = located(BoxFile(Path("v.csv"), "vindr", tuple(boxes), ()), (30, 20))
    assert set(found) == {Box(1, 1, 6, 6), Box(15, 20, 2, 3)}
    assert mask.sum() == 16 + 16 - 4 + 6


def test_nodule_or_mass_is_one_case_of_two_findings() -> None:
    box = TrueBox("view1_frontal", "Nodule/Mass", (1, 1, 4, 4), 2)
    cases, left_out = gather(
        BoxFile(Path("v.csv"), "vindr", (box,), ()), [IMAGE], ("Edema", "Mass", "Nodule")
    )
    assert cases == [Case(IMAGE, "Nodule/Mass", (2, 1), (box,))] and left_out == []


def test_scores_of_a_mask_are_those_of_its_pixels(run: Path, nih_root: Path) -> None:
    path = next((nih_root / "images").iterdir())
    image = Image(f"valid/patient1/study1/{path.stem}.png", path, "1")
    mask = RNG.random((48, 48)) < 0.3
    file = BoxFile(Path("m.json"), "chexlocalize", (mark(mask, image=f"patient1_study1_{path.stem}"),), (), 2)
    scored = score_boxes(checkpoints.load(run), file, [image], None, "cam", Eval(interval="none"))
    chance = scored.each[scored.each["map"] == "chance"].iloc[0]
    assert chance["area"] == chance["miou"] == pytest.approx(mask.mean())
    assert chance["num_boxes"] == len(localise.find_islands(mask))
    assert "not scored: 2 masks in which no pixel is marked" in scored.notes


def test_a_finding_that_stands_twice_is_an_error(tmp_path: Path) -> None:
    one = json.dumps(entry(np.ones((2, 2), bool)))
    path = write(tmp_path, '{"' + NAME + '": {"Edema": ' + one + ', "Edema": ' + one + "}}")
    with pytest.raises(CxrError, match="'Edema' stands there twice"):
        read_marks(path)
