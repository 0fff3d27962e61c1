import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from cxr.arrays import Float32
from cxr.evaluation.thresholds import Thresholds, fixed
from cxr.explain.contour import CONTOUR, draw_contour, number_contour
from cxr.explain.lettering import Colour, Lettering
from cxr.explain.overlay import Shown, Source, draw_overlay, draw_sheet
from cxr.explain.panel import Panel, make_panel, shrink, smooth
from cxr.explain.scale import Scale, choose_scale
from cxr.images.box import Box
from cxr.images.grey import Grey
from cxr.images.prepare import Fit, Preprocess

FITS: list[Fit] = ["pad", "squash", "crop"]
SOURCE = Source("x.png", "demo", fixed(("Mass", "Hernia")))
MARGIN, HEADING = 14, 28  # pixels above an image in a figure of usual width


def radiograph(height: int = 200, width: int = 300) -> Grey:
    return np.tile(np.linspace(20, 220, width).astype(np.uint8), (height, 1))


def shown(cells: Float32, is_called: bool = True, finding: str = "Mass") -> Shown:
    return Shown(finding, 0.9 if is_called else 0.1, 0.5, cells)


def painted(panel: Panel, values: Float32, top: float = 4.0) -> Colour:
    return Scale(top).paint(panel.grey, values)


def colourfulness(picture: Colour) -> npt.NDArray[np.int16]:
    return np.asarray(np.ptp(picture.astype(np.int16), axis=2))


@pytest.mark.parametrize("shape", [(256, 256), (1024, 1024), (64, 48), (3000, 2500), (200, 300)])
def test_the_image_stands_beside_itself_with_at_least_768_pixels(shape: tuple[int, int]) -> None:
    panel = make_panel(radiograph(*shape), Preprocess(64))
    assert 768 <= min(panel.grey.shape) and max(panel.grey.shape) <= 2048
    assert panel.grey.shape[0] / panel.grey.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.01)
    figure = draw_overlay(panel, shown(np.ones((2, 2), np.float32)), Scale(1.0), SOURCE)
    assert figure.shape[0] > panel.grey.shape[0] and figure.shape[1] > 2 * panel.grey.shape[1]
    plain = cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR)
    found = cv2.matchTemplate(figure, plain, cv2.TM_SQDIFF)
    assert found.min() / plain.size < 0.05
    assert found.argmin() % found.shape[1] < 100  # at the left


@pytest.mark.parametrize("fit", FITS)
def test_what_does_not_speak_for_the_finding_stays_the_radiograph(fit: Fit) -> None:
    panel = make_panel(radiograph(), Preprocess(64, fit))
    picture = painted(panel, panel.lay(-np.ones((7, 7), np.float32)))
    np.testing.assert_array_equal(picture, cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(210, 350), (350, 210)])
@pytest.mark.parametrize("centre", [(1, 1), (1, 5), (5, 2), (3, 3)])
def test_the_hottest_cell_lies_where_the_model_saw_it(
    fit: Fit, shape: tuple[int, int], centre: tuple[int, int]
) -> None:
    cells = np.full((7, 7), -1.0, np.float32)
    cells[centre] = 1.0
    panel = make_panel(np.full(shape, 128, np.uint8), Preprocess(70, fit))
    values = panel.lay(cells)
    height, width = panel.grey.shape
    side = {"pad": max(height, width), "crop": min(height, width), "squash": 0}[fit]
    tall, wide = (side or height), (side or width)
    row = (centre[0] + 0.5) / 7 * tall - (tall - height) / 2
    column = (centre[1] + 0.5) / 7 * wide - (wide - width) / 2
    if not (0 <= row < height and 0 <= column < width):  # a cell of the padding is in no pixel of the image
        assert values.max() < 1
        return
    where = np.argwhere(values > 0.8 * values.max())
    np.testing.assert_allclose(where.mean(axis=0), (row, column), atol=tall / 20)


def test_what_a_crop_cut_off_has_no_colour_and_a_frame_says_so() -> None:
    panel = make_panel(np.full((200, 400), 128, np.uint8), Preprocess(64, "crop"))
    values = panel.lay(np.ones((7, 7), np.float32))
    assert panel.seen[0] == panel.grey.shape[1] // 4 and not panel.is_whole
    assert not values[:, : panel.seen.x].any() and values[panel.seen.slices].all()
    assert not values[:, panel.seen.x + panel.seen.width :].any()


def test_a_weaker_finding_is_less_colourful_on_the_scale_of_the_image() -> None:
    maps = np.stack([np.full((2, 2), 8.0), np.full((2, 2), 1.0), np.full((2, 2), 50.0)]).astype(np.float32)
    scale = choose_scale(maps, np.array([True, True, False]))
    assert scale.top == 8
    grey = np.full((4, 4), 128, np.uint8)
    strong, weak = (colourfulness(scale.paint(grey, np.full((4, 4), value, np.float32))) for value in (8, 1))
    assert strong.min() > 4 * weak.max() > 0


def test_tiny_contributions_never_have_the_strongest_colour() -> None:
    assert choose_scale(np.full((3, 2, 2), 0.01, np.float32), np.array([True, False, False])).top == 1
    assert choose_scale(np.full((3, 2, 2), -4, np.float32), np.array([False] * 3)).top == 1


@pytest.mark.parametrize("top", [1.0, 1.9, 2.0, 3.7, 9.4, 10.0, 14.6, 99.0, 1234.5])
def test_the_bar_has_two_to_five_round_numbers(top: float) -> None:
    ticks = Scale(top).ticks
    assert 2 <= len(ticks) <= 5 and 0 < ticks[0] and ticks[-1] <= top
    assert all(len(f"{tick:.6g}".strip("0").replace(".", "").strip("0")) <= 2 for tick in ticks)


def test_a_finding_that_is_not_called_has_contours_and_no_other_colour() -> None:
    cells = np.zeros((7, 7), np.float32)
    cells[3, 3] = 9
    panel = make_panel(radiograph(256, 256), Preprocess(64))
    figures = [
        draw_overlay(panel, shown(cells, is_called), Scale(9.0), SOURCE) for is_called in (True, False)
    ]
    called, other = (int((colourfulness(figure[:, 800:1600]) > 30).sum()) for figure in figures)
    assert 0 < other < called / 2
    quiet = draw_overlay(panel, shown(np.asarray(cells / 100, np.float32), False), Scale(9.0), SOURCE)
    assert not (colourfulness(quiet[:, 800:1570]) > 30).any()


def test_a_smooth_map_keeps_the_cells_and_invents_no_peak() -> None:
    cells = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    dense = smooth(cells, 7 * 5 * 9)
    np.testing.assert_allclose(dense[22::45, 31::63], cells, atol=0.02)
    assert dense.min() >= cells.min() - 1e-6 and dense.max() <= cells.max() + 1e-6
    # no stripes: the slope changes by little from pixel to pixel, where linear enlarging breaks at each middle
    linear = cv2.resize(cells, dense.shape, interpolation=cv2.INTER_LINEAR)
    bend, linear_bend = (np.abs(np.diff(values, 2, axis=0)).max() for values in (dense, linear))
    assert bend < 0.6 * linear_bend
    np.testing.assert_array_equal(smooth(np.full((1, 1), 3, np.float32), 8), np.full((8, 8), 3, np.float32))


@pytest.mark.parametrize("num", [2, 3, 7])
def test_a_smooth_map_is_scipys_monotone_interpolation(num: int) -> None:
    from scipy.interpolate import PchipInterpolator

    random = np.random.default_rng(num)
    for cells in (random.normal(size=(num, 1)), random.integers(-1, 2, (num, 1))):
        middles, places = (np.arange(num) + 0.5) / num, (np.arange(90) + 0.5) / 90
        wanted = PchipInterpolator(middles, cells)(np.clip(places, middles[0], middles[-1]))
        np.testing.assert_allclose(smooth(cells.astype(np.float32), 90)[:, :1], wanted, atol=1e-6)


def test_a_caption_takes_letters_of_every_script_and_markup_as_text() -> None:
    hostile = [
        "<b>胸</b>",
        "أشعة",
        "\udc80",
        "a\u202eb",
        "\n\x1b[31m",
        "$x^2$",
        "\U0001d510",
        "",
        "x" * 500,
        "กิ" * 50,
    ]
    panel = make_panel(radiograph(64, 64), Preprocess(64))
    for name in hostile:
        thresholds = fixed((name,))
        figure = draw_overlay(
            panel,
            shown(np.ones((2, 2), np.float32), finding=name),
            Scale(2.0),
            Source(name, name, thresholds),
        )
        assert figure.shape[1] < 2000


def test_lines_are_wrapped_to_their_width_and_lose_no_letter() -> None:
    text = "a caption of several words and one thatisfartoolongforthewidth 胸部"
    letters = Lettering([text])
    lines = letters.wrap(text, 17, 120)
    assert len(lines) > 3 and all(letters.width(line, 17) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def captions(source: Source, one: Shown) -> str:
    """All that is written on a figure."""
    panel = make_panel(radiograph(256, 256), Preprocess(64))
    return read_writing(lambda: draw_overlay(panel, one, Scale(2.0), source))


def read_writing(draw: Callable[[], Colour]) -> str:
    """All lines that are written while something is drawn."""
    with patch.object(Lettering, "write", autospec=True, side_effect=Lettering.write) as write:
        draw()
    return " ".join(call.args[2] for call in write.call_args_list)  # after the letters and the canvas


def test_a_caption_says_probability_threshold_method_and_run() -> None:
    chosen = Thresholds(
        ("Mass", "Hernia"), (0.5, 0.2), "f1", "validation rows (560 images)", num_positive=(63, 2)
    )
    text = captions(replace(SOURCE, thresholds=chosen), shown(np.ones((2, 2), np.float32)))
    for part in (
        "Mass 0.900, called (threshold 0.500)",
        "best F1 on validation rows (560 images); 63 of these images are positive for this finding.",
        "Method: CAM",
        "run demo",
        "contribution to the logit",
        "not a medical device",
        "the mean of the cells (+1.00) and the finding's bias make its logit.",
    ):
        assert part in text


def test_a_caption_says_that_a_finding_is_not_called() -> None:
    text = captions(SOURCE, shown(np.ones((2, 2), np.float32), False))
    assert "Mass 0.100, NOT CALLED (threshold 0.500)" in text
    assert "Contours: contribution to the logit of 0.5, 1" in text
    assert "fixed 0.5 for every finding" in text


def test_a_caption_warns_of_the_image_and_names_the_shift_of_class_weights() -> None:
    one = replace(shown(np.ones((2, 2), np.float32)), logit_shift=-1.804)
    text = captions(replace(SOURCE, warning="out of distribution: score 2.54"), one)
    assert "WARNING: out of distribution: score 2.54." in text
    assert "make its logit, before -1.80 is added to undo class weights." in text
    assert "WARNING" not in captions(SOURCE, one)


@pytest.mark.parametrize(("value", "is_said"), [(-1.0, True), (0.05, True), (0.5, False)])
def test_a_called_finding_without_a_colour_is_said_to_be_one(value: float, is_said: bool) -> None:
    one = shown(np.full((2, 2), value, np.float32))
    words = f"Called, and no colour is seen: the largest contribution at any place is {value:+.2f}."
    assert (words in captions(SOURCE, one)) == is_said
    sheet = sheet_captions(SOURCE, [one])
    assert ("Called without a place to colour: Mass." in sheet) == is_said


def sheet_captions(source: Source, findings: list[Shown]) -> str:
    panel = make_panel(radiograph(256, 256), Preprocess(64))
    return read_writing(lambda: draw_sheet(panel, findings, Scale(2.0), source))


def test_a_sheet_has_the_warning_and_marks_doubtful_thresholds() -> None:
    names = ("Mass", "Hernia", "Edema")
    chosen = Thresholds(names, (0.5, 0.2, 0.5), "f1", "validation rows", ("Edema",), num_positive=(63, 2, 0))
    source = replace(SOURCE, thresholds=chosen, warning="out of distribution: score 2.54")
    findings = [shown(np.ones((2, 2), np.float32), finding=name) for name in names]
    text = sheet_captions(source, findings)
    assert "WARNING: out of distribution" in text
    for head in ("(threshold 0.500)", "(threshold 0.500*)", "(threshold 0.500\u2020)"):
        assert head in text
    assert "* chosen on fewer than 10 positive images" in text and "\u2020 set to this value" in text


def test_a_contour_ends_at_the_edge_of_what_the_model_saw() -> None:
    values = np.zeros((100, 100), np.float32)
    seen = Box(20, 10, 60, 80)
    values[10:50, 20:80] = 1  # the upper half of it
    drawn = np.zeros((100, 100, 3), np.uint8)
    points = draw_contour(drawn, values, 0.5, seen, 2)
    # dots along the edge of the higher side, a sixth of it at most
    edge = drawn[10:47, 20:22].any(axis=2)
    assert 0 < edge.mean() < 1 / 6 and not drawn[55:90, 20:22].any()
    drawn[10:47, [20, 21, 78, 79]] = 0
    drawn[10:12] = 0
    rows, columns = np.nonzero(drawn.any(axis=2))
    assert (
        47 <= min(rows) and max(rows) <= 51 and set(columns) == set(range(20, 80))
    )  # one line, and no frame
    assert len(points) and set(points[:, 1]) <= {49, 50}
    assert not len(draw_contour(drawn, np.ones((100, 100), np.float32), 0.5, seen, 2))


@pytest.mark.parametrize("shape", [(100, 100), (30, 20)])
def test_the_number_of_a_contour_is_dark_around_and_inside_the_image(shape: tuple[int, int]) -> None:
    drawn = np.full((*shape, 3), 255, np.uint8)
    number_contour(drawn, np.array([[shape[1] - 1, 0]]), "0.2")
    assert (drawn == 0).all(axis=2).sum() > 40 and (drawn == CONTOUR).all(axis=2).sum() > 20


@pytest.mark.parametrize("num", [1, 2, 14])
def test_a_sheet_has_the_radiograph_and_every_finding(num: int) -> None:
    panel = shrink(make_panel(radiograph(300, 200), Preprocess(64)), 100)
    assert min(panel.grey.shape) == 100
    sheet = draw_sheet(panel, [shown(np.ones((2, 2), np.float32))] * num, Scale(2.0), SOURCE)
    plain = cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR)
    tile = painted(panel, panel.lay(np.ones((2, 2), np.float32)), 2.0)
    for template, times in ((plain, 1), (tile, num)):
        found = cv2.matchTemplate(sheet, template, cv2.TM_SQDIFF)
        assert (found / plain.size < 0.05).sum() == times


@pytest.mark.parametrize("shape", [(20, 300_000), (300_000, 20), (60, 9000), (1, 50), (1, 1)])
def test_a_long_thin_image_takes_no_square_of_memory(shape: tuple[int, int]) -> None:
    grey = np.full(shape, 90, np.uint8)
    tracemalloc.start()
    panel = make_panel(grey, Preprocess(64))
    figure = draw_overlay(panel, shown(np.eye(7, dtype=np.float32)), Scale(1.0), SOURCE)
    assert tracemalloc.get_traced_memory()[1] < 300_000_000
    tracemalloc.stop()
    assert max(panel.grey.shape) <= 2048 and max(figure.shape) < 6000
