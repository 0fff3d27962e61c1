from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image, TiffImagePlugin
from pydicom import Dataset

from cxr.arrays import AnyArray
from cxr.errors import CxrError, UnreadableImageError
from cxr.images.grey import Grey, Intensity
from cxr.images.held import read_held
from cxr.images.notes import ignore_note
from cxr.images.read import read_file
from tests.helpers.dicoms import make_dicom, table_item, to_bytes

DRAWS = np.random.default_rng(0)
GREY = DRAWS.integers(0, 256, (20, 30), dtype=np.uint8)
DEEP = DRAWS.integers(0, 4096, (20, 30), dtype=np.uint16)
COLOUR = DRAWS.integers(0, 256, (20, 30, 3), dtype=np.uint8)
INTENSITIES: tuple[Intensity, ...] = ("bit-depth", "range")


def read(image: object, bits: int | None = None, intensity: Intensity = "bit-depth") -> Grey:
    return read_held(image, "it", bits, intensity, ignore_note)


def refusal(image: object, bits: int | None = None) -> str:
    with pytest.raises(CxrError) as error:
        read(image, bits)
    return error.value.render()


def write(path: Path, pixels: AnyArray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize("intensity", INTENSITIES)
def test_an_array_is_read_as_its_png_file(tmp_path: Path, intensity: Intensity) -> None:
    grey = read_file(write(tmp_path / "8.png", GREY), intensity)
    deep = read_file(write(tmp_path / "12.png", DEEP), intensity)
    colour = read_file(write(tmp_path / "c.png", COLOUR[..., ::-1]), intensity)
    np.testing.assert_array_equal(read(GREY, intensity=intensity), grey)
    np.testing.assert_array_equal(read(GREY[..., None], intensity=intensity), grey)
    np.testing.assert_array_equal(read(GREY.T.copy().T, intensity=intensity), grey)
    np.testing.assert_array_equal(read(DEEP, 12, intensity), deep)
    np.testing.assert_array_equal(read(DEEP.astype(">u2"), 12, intensity), deep)
    np.testing.assert_array_equal(read(COLOUR, intensity=intensity), colour)
    np.testing.assert_array_equal(read(np.dstack([COLOUR, GREY]), intensity=intensity), colour)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("intensity", INTENSITIES)
def test_floats_are_shares_of_white(dtype: type, intensity: Intensity) -> None:
    share: AnyArray = (GREY / 255).astype(dtype)
    np.testing.assert_array_equal(read(share, intensity=intensity), read(GREY, intensity=intensity))


def test_bits_say_which_value_is_white_however_bright_the_image_is() -> None:
    dark = np.minimum(DEEP, 1000)
    np.testing.assert_array_equal(read(dark, 12), np.rint(dark / 4095 * 255))
    np.testing.assert_array_equal(read(dark, 16), np.rint(dark / 65535 * 255))


@pytest.mark.parametrize(
    ("image", "bits", "problem", "hint"),
    [
        (DEEP, None, "it: uint16 with values up to 4,0", "bits=12"),
        (DEEP, 10, "and white is 1,023 with bits=10", "bits=12"),
        (DEEP, 20, "bits=20: is not from 8 to 16", "bits=12"),
        (GREY, 12, "it: bits=12 is for uint16, and this is uint8", "leave bits out"),
        (GREY.astype(np.float32), None, "it: float32 from 0 to 255", "array / 255"),
        (GREY * 2048.0 / 255 - 1024, None, "float64 from -1024 to 1024", "(array + 1024) / 2048"),
        (GREY * 9.0, None, "float64 from 0 to 2295", "not by its own minimum and maximum"),
        (np.full((4, 4), np.nan), None, "float64 with nan or infinity", "nan_to_num"),
        (GREY.astype(np.int64), None, "an array of int64 does not say which value is white", "astype(np.uint8)"),
        (GREY > 9, None, "an array of bool", "astype(np.uint8)"),
        (COLOUR.transpose(2, 0, 1), None, "of the shape (3, 20, 30)", "np.moveaxis(array, 0, -1)"),
        (np.zeros((0, 4), np.uint8), None, "of the shape (0, 4)", "[H, W]"),
        (np.broadcast_to(np.uint8(1), (20_000, 20_000)), None, "larger than 100,000,000 pixels", ""),
        ("x.png", 12, "it: bits=12 is for arrays of uint16", "leave bits out"),
        (b"x", None, "it: a bytes is no image", "give a path"),
    ],
)  # fmt: skip
def test_what_does_not_state_its_range_is_refused(
    image: object, bits: int | None, problem: str, hint: str
) -> None:
    said = refusal(image, bits)
    assert problem in said
    assert hint in said


def modes() -> dict[str, Image.Image]:
    """Images of every mode that is read, and of grey palettes."""
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    alpha = Image.fromarray(GREY[::-1])
    return {
        "L": grey,
        "1": Image.fromarray(GREY > 128),
        "LA": Image.merge("LA", (grey, alpha)),
        "RGB": colour,
        "RGBA": Image.merge("RGBA", (*colour.split(), alpha)),
        "P": colour.convert("P"),
        "I;16": Image.fromarray(DEEP),
    }


@pytest.mark.parametrize("intensity", INTENSITIES)
@pytest.mark.parametrize("mode", list(modes()))
def test_an_image_of_pillow_is_read_as_its_png_file(tmp_path: Path, mode: str, intensity: Intensity) -> None:
    image = modes()[mode]
    assert image.mode == mode
    image.save(tmp_path / "x.png")
    expected = read_file(tmp_path / "x.png", intensity)
    np.testing.assert_array_equal(read(image, intensity=intensity), expected)
    np.testing.assert_array_equal(read(Image.open(tmp_path / "x.png"), intensity=intensity), expected)


@pytest.mark.parametrize("name", ["x.jpg", "x.tif", "x.png"])
def test_an_image_of_pillow_is_turned_upright_as_its_file(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[274] = 6
    # without compression Pillow 13 reads sideways TIFFs wrongly, from whichever program
    options = {"compression": "tiff_deflate"} if name == "x.tif" else {}
    Image.fromarray(GREY).save(tmp_path / name, exif=exif, **options)
    expected = read_file(tmp_path / name)
    assert expected.shape == (30, 20)
    np.testing.assert_array_equal(read(Image.open(tmp_path / name)), expected)


def test_pillows_wide_modes_state_their_range() -> None:
    np.testing.assert_array_equal(read(Image.fromarray(DEEP.astype(np.int32))), read(Image.fromarray(DEEP)))
    np.testing.assert_array_equal(read(Image.fromarray((GREY / 255).astype(np.float32))), GREY)
    assert "floats are read from 0 (black)" in refusal(Image.fromarray(GREY.astype(np.float32)))
    assert "8 or 16 unsigned bits are read" in refusal(Image.fromarray(DEEP.astype(np.int32) - 9))


def test_images_of_pillow_that_files_are_refused_for_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(GREY)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with Image.open(tmp_path / "pages.tif") as pages:
        assert "several pages" in refusal(pages)
        np.testing.assert_array_equal(read(pages.copy()), GREY)
    assert "mode CMYK is not read" in refusal(Image.fromarray(COLOUR).convert("CMYK"))
    page.save(tmp_path / "x.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "x.jpg").read_bytes()[:-200])
    with Image.open(cut) as image, pytest.raises(UnreadableImageError, match="cannot load its pixels"):
        read(image)


def test_a_deep_tiff_whose_zero_is_white_is_not_read_upside_down(tmp_path: Path) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    Image.fromarray(DEEP).save(tmp_path / "x.tif", tiffinfo=tags)
    with Image.open(tmp_path / "x.tif") as image:
        assert image.mode == "I;16"
        assert "where 0 is white, which Pillow does not turn" in refusal(image)


def datasets() -> dict[str, Dataset]:
    signed = DEEP.astype(np.int16) - 900
    return {
        "plain": make_dicom(DEEP),
        "window": make_dicom(DEEP, WindowCenter=["900", "2000"], WindowWidth=["700", "100"]),
        "inverted": make_dicom(DEEP, PhotometricInterpretation="MONOCHROME1"),
        "rescaled": make_dicom(signed, 16, RescaleSlope="-2", RescaleIntercept="5"),
        "table": make_dicom(DEEP, VOILUTSequence=[table_item(range(4096), 0, 12)]),
        "stretched": make_dicom(DEEP, PixelSpacing=[0.1, 0.2]),
        "colour": make_dicom(COLOUR, 8),
        "big": make_dicom(DEEP, syntax="1.2.840.10008.1.2.2"),
    }


@pytest.mark.parametrize("kind", list(datasets()))
def test_a_dataset_is_read_as_its_file_and_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(to_bytes(datasets()[kind]))
    expected = read_file(path)
    for held in (datasets()[kind], pydicom.dcmread(path), pydicom.dcmread(path, defer_size=100)):
        before = to_bytes(held)
        for _ in range(2):
            np.testing.assert_array_equal(read(held), expected)
        assert to_bytes(held) == before


def test_a_compressed_dataset_is_read_as_its_file(tmp_path: Path) -> None:
    dataset = make_dicom(DEEP)
    dataset.compress("1.2.840.10008.1.2.5")
    (tmp_path / "x.dcm").write_bytes(to_bytes(dataset))
    np.testing.assert_array_equal(read(dataset), read_file(tmp_path / "x.dcm"))


def test_a_dataset_made_by_hand_needs_no_transfer_syntax() -> None:
    dataset = make_dicom(DEEP)
    expected = read(dataset)
    del dataset.file_meta
    np.testing.assert_array_equal(read(dataset), expected)


def test_a_dataset_is_refused_for_the_reasons_of_its_file() -> None:
    dataset = make_dicom(DEEP, NumberOfFrames=3)
    assert "DICOM file of 3 frames" in refusal(dataset)
    del dataset.PixelData
    assert "DICOM file without pixels" in refusal(dataset)
    assert "SECRET" not in refusal(make_dicom(DEEP, BitsStored=40))


def test_what_is_remarkable_is_noted() -> None:
    notes = list[str]()
    for image in (np.zeros((9, 9), np.uint8), make_dicom(DEEP, Modality="CT")):
        read_held(image, "it", None, "bit-depth", notes.append)
    assert notes == ["every pixel is the same", "DICOM of modality CT, not a radiograph"]
