"""Grey values where transforms are absent, impossible or show nothing, and what is noted about an image."""

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from cxr.errors import UnreadableImageError
from cxr.images.grey import Grey
from cxr.images.notes import CONSTANT
from cxr.images.read import decode, read_file
from tests.helpers.dicoms import make_dicom, table_item, to_bytes
from tests.images.dicom.test_decode import CURVE, DEEP, SIGNED, WINDOW, grey

NAN, INF, ABSURD = "nan", "inf", "1e308"
IGNORED_RESCALE = "RescaleSlope and RescaleIntercept make no sense and are ignored"
IGNORED_WINDOW = "its window or VOI table makes all pixels one grey and is ignored"


def shown(dataset: Dataset) -> tuple[Grey, list[str]]:
    notes: list[str] = []
    return decode(to_bytes(dataset), "x.dcm", note=notes.append), notes


def as_png(pixels: npt.NDArray[Any]) -> Grey:
    return decode(cv2.imencode(".png", pixels)[1].tobytes(), "x")


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 16), st.integers(1, 16), st.integers(0, 2**16))
def test_dicom_without_a_window_has_the_grey_of_the_same_pixels_as_png(
    stored: int, used: int, seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 2 ** min(used, stored), (7, 9), dtype=np.uint16)
    np.testing.assert_array_equal(grey(make_dicom(pixels, stored)), as_png(pixels))
    inverted = make_dicom(pixels, stored, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(grey(inverted), 255 - as_png(pixels))


@pytest.mark.parametrize("stored", [1, 4, 7])
def test_fewer_than_8_bits_still_span_black_to_white(stored: int) -> None:
    pixels = np.arange(2**stored, dtype=np.uint8)[None]
    np.testing.assert_array_equal(grey(make_dicom(pixels, stored)), np.rint(pixels / (2**stored - 1) * 255))


@pytest.mark.parametrize(
    "elements", [{}, {"RescaleSlope": 3, "RescaleIntercept": -1024}, {"LargestImagePixelValue": 9}]
)
def test_12_bits_in_16_keep_their_contrast(elements: dict[str, Any]) -> None:
    np.testing.assert_array_equal(grey(make_dicom(DEEP, 16, **elements)), grey(make_dicom(DEEP)))
    np.testing.assert_array_equal(grey(make_dicom(SIGNED, 16, **elements)), grey(make_dicom(SIGNED)))


def test_values_without_a_negative_one_begin_at_black_though_they_are_signed() -> None:
    np.testing.assert_array_equal(grey(make_dicom(DEEP.astype(np.int16), 16)), grey(make_dicom(DEEP)))


def test_a_modality_table_of_few_bits_in_16_keeps_its_contrast() -> None:
    dataset = make_dicom(DEEP, ModalityLUTSequence=[table_item(range(4096), 0, 16)])
    np.testing.assert_array_equal(grey(dataset), grey(make_dicom(DEEP)))


def test_padding_says_nothing_of_the_depth() -> None:
    padded = DEEP.copy()
    padded[:5] = 65535
    result = grey(make_dicom(padded, 16, PixelPaddingValue=65535))
    assert not result[:5].any()
    np.testing.assert_array_equal(result[5:], grey(make_dicom(DEEP))[5:])


@pytest.mark.parametrize("elements", [WINDOW, {}])
@pytest.mark.parametrize(
    ("slope", "intercept"),
    [(0, 0), (0, 50), (NAN, 0), (INF, 0), (1, NAN), (1, INF), (ABSURD, 0), (1, ABSURD), ("1e-300", 7)],
)
def test_an_impossible_rescale_counts_as_absent_and_is_noted(
    slope: str, intercept: str, elements: dict[str, Any]
) -> None:
    result, notes = shown(make_dicom(DEEP, RescaleSlope=slope, RescaleIntercept=intercept, **elements))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP, **elements)))
    assert notes == [IGNORED_RESCALE]


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": -5000, "WindowWidth": 100},
        {"WindowCenter": 9000, "WindowWidth": 100},
        {"WindowCenter": 0, "WindowWidth": "1e30"},
        {"VOILUTSequence": [table_item([7] * 4096, 0, 12)]},
        {"VOILUTSequence": [table_item([0] * 10, 60000, 8)]},
    ],
    ids=["below", "above", "endless", "flat table", "table elsewhere"],
)
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
def test_a_window_that_shows_nothing_is_ignored_and_noted(kind: str, elements: dict[str, Any]) -> None:
    result, notes = shown(make_dicom(DEEP, PhotometricInterpretation=kind, **elements))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP, PhotometricInterpretation=kind)))
    assert notes == [IGNORED_WINDOW]


def test_the_second_window_is_taken_where_the_first_shows_nothing() -> None:
    result, notes = shown(make_dicom(DEEP, WindowCenter=[-5000, 1800], WindowWidth=[100, 2500]))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP, **WINDOW)))
    assert notes == []


def test_a_flat_modality_table_is_ignored_and_noted() -> None:
    result, notes = shown(make_dicom(DEEP, ModalityLUTSequence=[table_item([500] * 4096, 0, 12)]))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP)))
    assert notes == ["its modality table makes no sense or all pixels one grey and is ignored"]


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("change", ["no entries", "short descriptor", "few bytes"])
def test_a_broken_table_is_ignored_and_noted(keyword: str, change: str) -> None:
    item = table_item(CURVE, 0, 12)
    if change == "no entries":
        del item.LUTData
    elif change == "short descriptor":
        item.LUTDescriptor = [4096]
    else:
        item.add_new("LUTData", "OW", b"\0" * 8)
    elements: dict[str, Any] = {keyword: [item]}
    result, notes = shown(make_dicom(DEEP, **elements))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP)))
    assert all(note.endswith("is ignored") for note in notes)
    assert notes or (keyword, change) == ("VOILUTSequence", "no entries")


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_transform_makes_different_pixels_one_grey_in_silence(data: st.DataObject) -> None:
    number = st.sampled_from([0, 1, -1, 0.5, 1e-9, 1e9, -4000, 2048, 65535, 1e30, "1e307", "nan", "inf"])
    names = st.sets(st.sampled_from(["RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth"]))
    elements: dict[str, Any] = {name: data.draw(number) for name in sorted(data.draw(names))}
    voi = data.draw(st.sampled_from([None, [table_item([3] * 50, 0, 8)], [table_item(CURVE, 0, 12)]]))
    elements |= {"VOILUTSequence": voi} if voi else {}
    result, _ = shown(make_dicom(DEEP, **elements))
    assert result.min() < result.max()


@pytest.mark.parametrize(
    ("photometric", "shape", "is_inverted"),
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME2", "SECRET", False),
    ],
)
def test_an_image_is_inverted_once_and_a_contradiction_is_noted(
    photometric: str, shape: str, is_inverted: bool
) -> None:
    result, notes = shown(make_dicom(DEEP, PhotometricInterpretation=photometric, PresentationLUTShape=shape))
    np.testing.assert_array_equal(
        result, 255 - grey(make_dicom(DEEP)) if is_inverted else grey(make_dicom(DEEP))
    )
    contradicts = (photometric, shape) in (("MONOCHROME2", "INVERSE"), ("MONOCHROME1", "IDENTITY"))
    said = f"{photometric} with PresentationLUTShape {shape}: its smallest value is taken for white"
    assert notes == ([said] if contradicts else [])


@pytest.mark.parametrize("keyword", ["PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"])
@pytest.mark.parametrize("tall", [False, True])
def test_pixels_that_are_not_square_are_stretched_and_noted(keyword: str, tall: bool) -> None:
    squashed = np.ascontiguousarray(DEEP[:, ::2] if tall else DEEP[::2])
    sides: dict[str, Any] = {keyword: [1, 2] if tall else [2, 1]}
    result, notes = shown(make_dicom(squashed, **sides))
    assert result.shape == DEEP.shape
    assert np.abs(result[2:-2, 2:-2] - grey(make_dicom(DEEP))[2:-2, 2:-2].astype(int)).max() <= 2
    assert notes == ["its pixels are not square: the image was stretched"]


@pytest.mark.parametrize("sides", [[1, 1], [0.2, 0.201], [0, 1], [-1, 1], ["nan", 1], [1], None])
def test_pixels_that_are_square_or_make_no_sense_stay(sides: object) -> None:
    result, notes = shown(make_dicom(DEEP, PixelSpacing=sides))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP)))
    assert notes == []


def test_pixels_over_ten_times_as_long_as_wide_are_taken_for_a_mistake() -> None:
    result, notes = shown(make_dicom(DEEP, PixelSpacing=[1, 30]))
    assert result.shape == DEEP.shape
    assert notes == ["its header says that pixels are over 10 times as long as wide, which is ignored"]


def test_an_image_that_would_become_too_large_is_refused() -> None:
    dataset = make_dicom(np.zeros((8, 8), np.uint8), 8, PixelSpacing=[9, 1])
    dataset.Rows, dataset.Columns, dataset.PixelData = 4_000, 4_000, bytes(16_000_000)
    with pytest.raises(
        UnreadableImageError, match=r"larger than 100,000,000 pixels once its pixels are square"
    ):
        decode(to_bytes(dataset), "x.dcm")


@pytest.mark.parametrize(
    ("elements", "note"),
    [
        ({"Modality": "CT"}, "DICOM of modality CT, not a radiograph"),
        ({"Modality": "SECRET"}, "DICOM of an unknown modality"),
        ({"Modality": "DX", "BodyPartExamined": "SKULL"}, "DICOM of body part SKULL"),
        ({"BodyPartExamined": "left hand SECRET"}, "DICOM of body part HAND"),
        (
            {"PresentationIntentType": "FOR PROCESSING"},
            "DICOM with raw values for processing, not for presentation",
        ),
    ],
)
def test_what_is_no_chest_radiograph_is_noted_and_read(elements: dict[str, Any], note: str) -> None:
    result, notes = shown(make_dicom(DEEP, **elements))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP)))
    assert notes == [note]


@pytest.mark.parametrize("part", ["CHEST", "Thorax", "CHEST_ABDOMEN", "SECRET", ""])
def test_a_chest_and_what_is_not_known_is_not_noted(part: str) -> None:
    assert shown(make_dicom(DEEP, Modality="CR", BodyPartExamined=part))[1] == []


def test_a_constant_image_is_noted_whatever_it_is_stored_as() -> None:
    flat = np.full((40, 50), 700, np.uint16)
    for data in (to_bytes(make_dicom(flat, **WINDOW)), cv2.imencode(".png", flat)[1].tobytes(),
                 cv2.imencode(".jpg", (flat // 4).astype(np.uint8))[1].tobytes()):  # fmt: skip
        notes: list[str] = []
        decode(data, "x", note=notes.append)
        assert notes == [CONSTANT]


RIGHT = {
    "08-dicom-slope0": ["slope0.dcm", "window_out.dcm"],
    "09-dicom-highbit": ["highbit15.dcm"],
    "10-dicom-dark-16bit": ["bits16_values12.dcm", "bits16_values12_minmax.dcm"],
    "26-image-kinds": ["cmyk.jpg", "exif6.jpg", "i12in16.png", "la_mask.png"],
    "27-dicom-right": ["aspect.dcm", "j2k_1149.dcm", "overlay_bits.dcm", "overlay_bits_j2k.dcm", "overlay_bits_jls.dcm",
                       "overlay_bits_rle.dcm", "signed12_noext.dcm", "window_two.dcm"],
}  # fmt: skip


@pytest.mark.parametrize("folder", RIGHT)
def test_the_reported_files_show_what_the_plain_one_shows(cases: Path, folder: str) -> None:
    plain = read_file(cases / "27-dicom-right" / "plain12.dcm").astype(int)
    for name in RIGHT[folder]:
        difference = np.abs(read_file(cases / folder / name) - plain)
        if name == "aspect.dcm":  # half of the rows were thrown away
            assert difference.mean() < 6
        else:
            assert difference.max() <= {"exif6.jpg": 4, "cmyk.jpg": 4}.get(name, 1), name


def test_the_reported_inverted_files_are_inverted(cases: Path) -> None:
    plain = read_file(cases / "27-dicom-right" / "plain12.dcm").astype(int)
    for name in ("27-dicom-right/inverse_shape.dcm", "10-dicom-dark-16bit/bits16_values12_mono1.dcm"):
        np.testing.assert_array_equal(read_file(cases / name), 255 - plain)


def test_the_reported_kinds_are_named(cases: Path, tmp_path: Path) -> None:
    reasons = {
        "11-jpeg-extended-12bit/nophoto.dcm": "DICOM file is corrupt: its header lacks PhotometricInterpretation",
        "26-image-kinds/webp_named.png": "not a PNG, JPEG, TIFF or DICOM image: it is WebP; save it as PNG",
        "26-image-kinds/gif_named.jpg": "not a PNG, JPEG, TIFF or DICOM image: it is GIF; save it as PNG",
        "26-image-kinds/bmp_named.jpeg": "not a PNG, JPEG, TIFF or DICOM image: it is BMP; save it as PNG",
        "26-image-kinds/cut2.jpg": "image file is truncated (4,325 bytes)",
        "40-jpeg-size-decoy/j_tem_20000.jpg": "image of 20,000 x 20,000 pixels is larger than 100,000,000 pixels",
        "40-jpeg-size-decoy/j_tem_32000.jpg": "image of 32,000 x 32,000 pixels is larger than 100,000,000 pixels",
        "42-terminal-escapes/dicm.png": "not a PNG, JPEG, TIFF or DICOM image",
        "42-terminal-escapes/chunk.png": "image file is corrupt: checksum of its \x1b[2J part at byte 33 is wrong",
    }
    for name, reason in reasons.items():
        shutil.copy(cases / name, tmp_path / "x")
        with pytest.raises(UnreadableImageError) as error:
            read_file(tmp_path / "x")
        assert error.value.reason == reason


@pytest.mark.parametrize(
    "elements",
    [{"WindowCenter": 2000, "WindowWidth": 0}, {"WindowCenter": 2000}, {"WindowWidth": 10},
     {"WindowCenter": [2000, 1000], "WindowWidth": 1000}],
)  # fmt: skip
def test_a_window_that_is_none_is_ignored_and_noted(elements: dict[str, Any]) -> None:
    result, notes = shown(make_dicom(DEEP, **elements))
    np.testing.assert_array_equal(result, grey(make_dicom(DEEP)))
    assert notes == ["its window makes no sense and is ignored"]


def test_a_window_far_wider_than_the_values_is_noted() -> None:
    wide: dict[str, Any] = {"WindowCenter": 32768, "WindowWidth": 65536}
    result, notes = shown(make_dicom(DEEP, 16, **wide))
    assert result.max() == 16
    assert notes == ["its window or VOI table is so wide that fewer than 32 of 256 grey levels are left"]
    assert shown(make_dicom(DEEP, WindowCenter=2048, WindowWidth=4096))[1] == []


@pytest.mark.parametrize(("vr", "value"), [("SS", -2000), ("US", 63536)])
def test_padding_is_known_by_its_bits_whatever_its_sign(vr: str, value: int) -> None:
    pixels = np.asarray(SIGNED, np.int16).copy()
    pixels[:5] = -2000
    dataset = make_dicom(pixels, 16, PhotometricInterpretation="MONOCHROME1")
    dataset.add_new(0x00280120, vr, value)
    assert not shown(dataset)[0][:5].any()


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CR"},
            "CT Image Storage, not a radiograph",
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, "MR Image Storage, not a radiograph"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "DX"}, ""),
        ({"BodyPartExamined": "BRAIN"}, "BRAIN"),
    ],
)
def test_what_is_no_radiograph_of_the_chest_by_any_element_is_noted(
    elements: dict[str, Any], said: str
) -> None:
    notes = shown(make_dicom(DEEP, **elements))[1]
    assert len(notes) == bool(said)
    assert not said or notes[0].endswith(said)


def test_a_number_of_frames_below_one_is_named() -> None:
    with pytest.raises(UnreadableImageError, match="its NumberOfFrames is -1"):
        decode(to_bytes(make_dicom(DEEP, NumberOfFrames=-1)), "x.dcm")
