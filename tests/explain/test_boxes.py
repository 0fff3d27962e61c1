from collections.abc import Callable
from pathlib import Path

import pytest

from cxr.errors import CxrError
from cxr.explain.boxes import BoxFile, TrueBox, place_box, read_boxes, scored_findings
from cxr.findings import CHEXPERT_14, NIH_14
from cxr.images.box import Box

NIH = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
RSNA = "Image Index,x,y,width,height,Target\n"
TABLE = "image,finding,x,y,width,height\n"


Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(text: str) -> Path:
        path = tmp_path / "boxes.csv"
        path.write_text(text)
        return path

    return make


def test_nihs_boxes_are_read_and_infiltrate_is_infiltration(write: Write) -> None:
    file = read_boxes(write(NIH + "a.png,Infiltrate,1.5,2,30,40,,,\na.png,Mass,5,6,7,8,,,\n"))
    assert (file.format, file.frame("nih"), file.frame("phantom")) == ("nih", 1024, None)
    assert [(box.finding, box.corners) for box in file.boxes if isinstance(box, TrueBox)] == [
        ("Infiltration", (1.5, 2, 30, 40)),
        ("Mass", (5, 6, 7, 8)),
    ]


def test_rsnas_empty_rows_are_images_that_were_read(write: Write) -> None:
    file = read_boxes(write(RSNA + "a.png,1,2,3,4,1\nb.png,,,,,0\n"))
    assert [(box.image, box.finding) for box in file.boxes] == [("a.png", "Lung Opacity")]
    assert file.empty == ("b.png",)


def test_kaggles_own_table_of_rsna_is_read(write: Write) -> None:
    file = read_boxes(write("patientId,x,y,width,height,Target\n00a1,1.0,2.0,3,4,1.0\nb,NaN,NaN,NaN,NaN,0\n"))
    assert (file.format, file.empty) == ("rsna", ("b",))
    assert file.boxes == (TrueBox("00a1", "Lung Opacity", (1, 2, 3, 4), 2),)


def test_a_row_that_repeats_a_box_is_counted_once(write: Write) -> None:
    rows = "a,Mass,1,2,3,4\n" * 3 + "a,Mass,1,2,3,5\na,Hernia,1,2,3,4\nb,Mass,1,2,3,4\n"
    file = read_boxes(write(TABLE + rows))
    assert (len(file.boxes), file.num_repeated) == (4, 2)


def test_the_published_lists_are_read(sample_data: Path) -> None:
    nih = read_boxes(sample_data / "nih-256" / "BBox_List_2017.csv")
    rsna = read_boxes(sample_data / "nih-256" / "rsna_boxes.csv")
    assert {box.finding for box in nih.boxes} <= set(NIH_14)
    assert (len(rsna.boxes), len({box.image for box in rsna.boxes}), len(rsna.empty)) == (139, 90, 223)


def test_other_tables_of_boxes_are_read(write: Write) -> None:
    phantom = read_boxes(write("Path,finding,x,y,w,h\nCheXpert/a.jpg,Edema,1,2,3,4\n"))
    table = read_boxes(write("y,note,image,finding,x,width,height\n2,x,a.png,Mass,1,3,4\n,,b.png,Mass,,,\n"))
    assert (phantom.format, phantom.boxes[0]) == (
        "phantom",
        TrueBox("CheXpert/a.jpg", "Edema", (1, 2, 3, 4), 2),
    )
    first = table.boxes[0]
    assert isinstance(first, TrueBox) and (table.format, first.corners) == ("table", (1, 2, 3, 4))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TABLE + "a,Mass,1,2,0,4\n", ":2: is a box of no size: width 0, height 4"),
        (TABLE + "a,Mass,1,2,3,-4\n", ":2: is a box of no size: width 3, height -4"),
        (TABLE + "\na,Mass,1,2,three,4\n", ":3: is no box: 1, 2, three, 4"),
        (TABLE + "a,Mass,1,2,nan,4\n", ":2: is no box: 1, 2, nan, 4"),
        (TABLE + "a,Mass,1\n", ":2: is no box: 1, , , "),
        (TABLE + "a,,1,2,3,4\n", ":2: names no finding"),
        (RSNA + "a,1,2,3,4,0\n", ":2: has a Target of 0 and a box"),
        (RSNA + "a,,,,,1\n", ":2: has a Target of 1 and no box"),
        (RSNA + "a,1,2,3,4,\n", ":2: has a Target of nothing and a box"),
        (RSNA + "a,1,2,3,nan,1\n", ":2: is no box: 1, 2, 3, nan"),
        (NIH + "a,Mass,1,2,3,,,\n", ":2: is no box: 1, 2, 3, "),
        ("image,finding\na,Mass\n", "its columns are not those of a table of boxes"),
        ("", "its columns are not those of a table of boxes"),
    ],
)
def test_cells_that_are_no_box_are_named_with_their_line(write: Write, text: str, problem: str) -> None:
    with pytest.raises(CxrError) as error:
        read_boxes(write(text))
    assert problem in error.value.problems[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match=r"none\.csv: No such file"):
        read_boxes(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("corners", "shape", "frame", "expected", "is_cut"),
    [
        ((10, 20, 30, 40), (100, 100), None, Box(10, 20, 30, 40), False),
        ((400, 200, 80, 40), (256, 256), 1024, Box(100, 50, 20, 10), False),
        ((400, 200, 80, 40), (128, 256), 1024, Box(100, 25, 20, 5), False),
        ((90, -5, 30, 40), (100, 100), None, Box(90, 0, 10, 35), True),
        ((0.2, 0.1, 0.3, 0.2), (100, 100), None, Box(0, 0, 1, 1), False),
        ((99.7, 99.8, 0.3, 0.2), (100, 100), None, Box(99, 99, 1, 1), False),
        ((100, 0, 10, 10), (100, 100), None, None, True),
        ((-10, 0, 10, 10), (100, 100), None, None, True),
    ],
)
def test_a_box_is_placed_on_the_pixels_of_its_image(
    corners: tuple[float, float, float, float],
    shape: tuple[int, int],
    frame: int | None,
    expected: Box | None,
    is_cut: bool,
) -> None:
    assert place_box(TrueBox("a", "Mass", corners, 2), shape, frame) == (expected, is_cut)


def scored(finding: str, findings: tuple[str, ...] = NIH_14) -> tuple[str, list[str]]:
    name, numbers = scored_findings(finding, findings)
    return name, [findings[number] for number in numbers]


def test_lung_opacity_is_scored_for_three_findings_together() -> None:
    three = ["Pneumonia", "Infiltration", "Consolidation"]
    assert scored("lung opacity") == scored("Airspace Opacity") == ("Lung Opacity", three)
    assert scored("Lung Opacity", ("Mass", "lung opacity", "Pneumonia")) == ("lung opacity", ["lung opacity"])
    assert scored("pleural thickening") == ("Pleural_Thickening", ["Pleural_Thickening"])
    assert scored("Fracture") == ("Fracture", [])
    assert BoxFile(Path("x"), "table", (), ()).frame("nih") is None


def test_names_of_vindr_are_those_of_the_models_findings() -> None:
    assert scored("Pleural effusion") == ("Effusion", ["Effusion"])
    assert scored("Pulmonary fibrosis") == ("Fibrosis", ["Fibrosis"])
    assert scored("Nodule/Mass") == ("Nodule/Mass", ["Nodule", "Mass"])
    assert scored("Nodule/Mass", ("Mass", "Nodule/Mass")) == ("Nodule/Mass", ["Nodule/Mass"])
    assert scored("Pleural effusion", CHEXPERT_14) == ("Pleural Effusion", ["Pleural Effusion"])
    assert scored("Aortic enlargement") == ("Aortic enlargement", [])


def test_vindrs_corners_become_boxes_and_normal_images_are_counted(write: Write) -> None:
    heading = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
    lines = ["a,R1,Pleural effusion,10,20,30,50.5", "a,R2,Pleural effusion,12,20,31,50", "b,R1,No finding,,,,",
             "c,R3,No finding,0,0,1,1"]  # fmt: skip
    file = read_boxes(write(heading + "\n".join(lines)))
    assert [box.corners for box in file.boxes if isinstance(box, TrueBox)] == [
        (10, 20, 20, 30.5),
        (12, 20, 19, 30),
    ]
    assert (file.format, file.empty, file.has_several_readers) == ("vindr", ("b", "c"), True)
    with pytest.raises(CxrError, match=r":2: is a box of no size: width -20, height 5"):
        read_boxes(write(heading + "a,R1,Mass,30,10,10,15"))
