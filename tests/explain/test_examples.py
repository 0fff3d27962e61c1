from pathlib import Path

import cv2
import numpy as np
import pytest

from cxr.arrays import Float32
from cxr.explain.cases import Image
from cxr.explain.examples import Examples
from cxr.explain.maps import Method
from cxr.images.box import Box
from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess
from cxr.report import html
from cxr.report.document import Document, Gallery, Section, Text

GREY: Grey = np.full((352, 176), 40, np.uint8)
CELLS: Float32 = np.zeros((2, 4, 4), np.float32)
CELLS[:, 0, 0] = 9


def image(name: str, *labels: float) -> Image:
    return Image(name, Path(name), name, False, labels)


def kinds(section: Section) -> dict[str, list[str]]:
    """Names of the images by kind."""
    texts = [part.label for part in section.parts if isinstance(part, Text)]
    galleries = [part for part in section.parts if isinstance(part, Gallery)]
    return {
        text: [one.name for one in gallery.thumbnails] for text, gallery in zip(texts, galleries, strict=True)
    }


def test_the_most_confident_images_of_each_kind_are_kept() -> None:
    examples = Examples(("Mass", "Edema"), (0.5, 0.5), Preprocess(64), 2, "cam")
    for number, p in enumerate((0.6, 0.9, 0.7, 0.2, 0.1, 0.3)):
        examples.add(image(f"positive{number}", 1, np.nan), GREY, (p, 0.9), CELLS, {})
        examples.add(image(f"negative{number}", 0, np.nan), GREY, (p, 0.9), CELLS, {})
    (section,) = examples.sections(("Mass", "Edema"))  # the labels of Edema are unknown
    assert section.title == "Mass" and section.is_folded
    assert kinds(section) == {
        "True positives": ["positive1", "positive2"],
        "False positives": ["negative1", "negative2"],
        "False negatives": ["positive4", "positive3"],
    }
    assert examples.sections(("Edema",)) == ()


def test_a_box_makes_an_image_positive_whatever_its_label() -> None:
    examples = Examples(("Mass",), (0.5,), Preprocess(64), 1, "cam")
    examples.add(image("a", 0), GREY, (0.9,), CELLS, {0: [Box(2, 2, 9, 9)]})
    assert list(kinds(examples.sections(("Mass",))[0])) == ["True positives"]


def test_a_map_that_was_not_computed_makes_no_picture() -> None:
    examples = Examples(("Mass",), (0.5,), Preprocess(64), 1, "cam")
    examples.add(image("a", 1), GREY, (0.9,), np.zeros((1, 4, 4), np.float32), {})
    assert examples.sections(("Mass",)) == ()


@pytest.mark.parametrize(("p", "is_called"), [(0.9, True), (0.1, False)])
def test_a_picture_is_the_radiograph_beside_its_map_with_the_box_on_both(p: float, is_called: bool) -> None:
    examples = Examples(("Mass",), (0.5,), Preprocess(64), 1, "cam")
    examples.add(image("a", 1), GREY, (p,), CELLS, {0: [Box(40, 200, 60, 80)]})
    gallery = examples.sections(("Mass",))[0].parts[1]
    assert isinstance(gallery, Gallery) and len(gallery.thumbnails[0].jpeg) < 20_000
    drawn = np.asarray(cv2.imdecode(np.frombuffer(gallery.thumbnails[0].jpeg, np.uint8), cv2.IMREAD_COLOR))
    assert drawn.shape == (352, 352, 3)
    left, right = drawn[:, :176].astype(int), drawn[:, 176:].astype(int)
    for half in (left, right):  # green on the upper edge of the box
        assert half[200, 60, 1] > half[200, 60, 2] + 30
    assert np.abs(left[20, 40] - 40).max() < 12
    # the largest value lies in the upper left corner of the square, of which the image is the middle half
    assert (np.abs(right[10, 5] - left[10, 5]).max() > 40) == is_called


@pytest.mark.parametrize(
    ("method", "largest", "is_faint", "said"),
    [
        ("cam", 0.02, True, "map up to +0.02 to the logit"),
        ("cam", 4.0, False, "map up to +4 to the logit"),
        ("occlusion", 0.004, True, "map up to +0.004 of probability lost"),
        ("occlusion", 0.4, False, "map up to +0.4 of probability lost"),
        ("gradcam", 0.004, False, "map up to +0.004"),
        ("cam", -1.0, True, "no place speaks for it"),
    ],
)
def test_a_map_of_almost_nothing_has_almost_no_colour(
    method: Method, largest: float, is_faint: bool, said: str
) -> None:
    examples = Examples(("Mass",), (0.5,), Preprocess(64), 1, method)
    cells = np.full((1, 4, 4), -2, np.float32)
    cells[0, 1:3, 1:3] = largest
    examples.add(image("a", 1), GREY, (0.9,), cells, {})
    gallery = examples.sections(("Mass",))[0].parts[1]
    assert isinstance(gallery, Gallery)
    assert gallery.thumbnails[0].caption == f"probability 0.900, threshold 0.500, {said}"
    drawn = np.asarray(cv2.imdecode(np.frombuffer(gallery.thumbnails[0].jpeg, np.uint8), cv2.IMREAD_COLOR))
    colour = np.ptp(drawn[:, drawn.shape[1] // 2 :].astype(int), axis=2).max()
    assert (colour < 30) == is_faint


def test_names_of_images_are_text_on_the_page() -> None:
    examples = Examples(("Mass",), (0.5,), Preprocess(64), 1, "cam")
    examples.add(image("<script>alert(1)</script>", 1), GREY, (0.9,), CELLS, {})
    page = html.render(Document("x", examples.sections(("Mass",))))
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert 'class="gallery pairs"' in page and "data:image/jpeg;base64," in page
