"""DICOM grey values are those of pydicom's reference pipeline; whatever is no radiograph is named."""

import io
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    MPEG2MPML,
    UID,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from cxr.data.dicom import MAX_BYTES, decode_dicom
from cxr.data.dicom_header import Header, read_header
from cxr.data.image import MAX_PIXELS, UnreadableImageError, decode
from cxr.errors import CxrError
from tests.dicoms import NAME, NUMBER, dicom, lut, saved

Y, X = np.mgrid[0:36, 0:50]
DEEP = np.asarray(2000 + 1500 * np.sin(X / 9) * np.cos(Y / 7), np.uint16)
EIGHT = np.asarray(DEEP // 16, np.uint8)
SIGNED = np.asarray(DEEP.astype(np.int32) - 2000, np.int16)
CURVE = np.asarray(np.round(255 * (np.arange(4096) / 4095) ** 0.5), np.uint16)


def reference(dataset: Dataset) -> tuple[npt.NDArray[np.float64], float, float]:
    """(values, black, white): pydicom's transforms, then the inversion, and the range that apply_windowing maps to."""
    loaded = dcmread(io.BytesIO(saved(dataset)))
    values = np.asarray(apply_voi_lut(apply_modality_lut(loaded.pixel_array, loaded), loaded), np.float64)
    bits = loaded.BitsStored
    ends = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if loaded.PixelRepresentation else [0, 2**bits - 1]
    if "RescaleSlope" in loaded:
        ends = [end * loaded.RescaleSlope + loaded.RescaleIntercept for end in ends]
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        if sequence in loaded:
            ends = [0, 2 ** loaded[sequence].value[0].LUTDescriptor[2] - 1]
    if loaded.PhotometricInterpretation == "MONOCHROME1":
        values = sum(ends) - values
    return values, float(min(ends)), float(max(ends))


PIPELINES = {
    "8 bit": dicom(EIGHT),
    "12 bit": dicom(DEEP, 12),
    "16 bit": dicom(DEEP * 16),
    "signed": dicom(SIGNED, 12),
    "MONOCHROME1": dicom(DEEP, 12, PhotometricInterpretation="MONOCHROME1"),
    "rescaled": dicom(DEEP, 12, RescaleSlope=2.5, RescaleIntercept=-1000),
    "rescaled downwards": dicom(DEEP, 12, RescaleSlope=-1, RescaleIntercept=4095),
    "window": dicom(DEEP, 12, WindowCenter=2000, WindowWidth=900),
    "first of two windows": dicom(DEEP, 12, WindowCenter=[1500, 3000], WindowWidth=[700, 90]),
    "exact window": dicom(DEEP, 12, WindowCenter=2000, WindowWidth=900, VOILUTFunction="LINEAR_EXACT"),
    "sigmoid": dicom(DEEP, 12, WindowCenter=2000, WindowWidth=900, VOILUTFunction="SIGMOID"),
    "window of rescaled": dicom(
        SIGNED, 12, RescaleSlope=2, RescaleIntercept=10, WindowCenter=0, WindowWidth=2500,
        PhotometricInterpretation="MONOCHROME1",
    ),
    "VOI LUT": dicom(DEEP, 12, VOILUTSequence=lut(CURVE * 16, bits=12)),
    "VOI LUT before window": dicom(DEEP, 12, VOILUTSequence=lut(CURVE, bits=8), WindowCenter=9, WindowWidth=9),
    "modality LUT": dicom(DEEP, 12, ModalityLUTSequence=lut(CURVE * 257, bits=16)),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_grey_values_are_those_of_pydicom(name: str) -> None:
    expected, black, white = reference(PIPELINES[name])
    values = decode_dicom(saved(PIPELINES[name]), name, MAX_PIXELS)
    np.testing.assert_allclose(values.pixels, expected, rtol=0, atol=1e-9)
    assert (values.black, values.white) == (black, white)
    eight = (255 * (expected - black) / (white - black)).clip(0, 255)
    assert np.abs(decode(saved(PIPELINES[name]), name) - eight).max() <= 0.501


def test_a_window_without_width_is_no_window() -> None:
    whole = decode(saved(dicom(DEEP, 12)), "x")
    np.testing.assert_array_equal(decode(saved(dicom(DEEP, 12, WindowCenter=0, WindowWidth=0)), "x"), whole)


def test_padding_is_black_however_the_file_is_inverted() -> None:
    padded = DEEP.copy()
    padded[:5] = 4000
    made = dicom(padded, 12, PixelPaddingValue=4000, PhotometricInterpretation="MONOCHROME1")
    made["PixelPaddingValue"].VR = "US"
    grey = decode(saved(made), "x")
    assert (grey[:5] == 0).all()
    assert grey[5:].min() > 0


def compressed(syntax: str, pixels: npt.NDArray[Any] = DEEP, bits: int = 12) -> bytes:
    made = dicom(pixels, bits)
    made.compress(syntax, generate_instance_uid=False)
    return saved(made)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_lossless_transfer_syntaxes_give_the_same_pixels(syntax: str) -> None:
    np.testing.assert_array_equal(decode(compressed(syntax), "x"), decode(saved(dicom(DEEP, 12)), "x"))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_ways_of_writing_give_the_same_pixels(syntax: UID) -> None:
    made = dicom(DEEP, 12)
    made.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(decode(saved(made), "x"), decode(saved(dicom(DEEP, 12)), "x"))


def test_big_endian_pixels_are_read() -> None:
    made = dicom(DEEP.astype(">u2"), 12)
    made.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    np.testing.assert_array_equal(decode(saved(made), "x"), decode(saved(dicom(DEEP, 12)), "x"))


def test_a_jpeg_inside_is_read() -> None:
    made = dicom(EIGHT)
    jpeg = cv2.imencode(".jpg", EIGHT, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    made.PixelData = encapsulate([jpeg])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    expected = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert np.abs(decode(saved(made), "x").astype(int) - expected).max() <= 1


def test_colour_becomes_luminance() -> None:
    colour = np.stack([EIGHT, EIGHT // 2, 255 - EIGHT], axis=2)
    expected = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    assert np.abs(decode(saved(dicom(colour)), "x").astype(int) - expected).max() <= 1


def test_a_file_without_its_preamble_is_known_by_its_name() -> None:
    bare = saved(dicom(EIGHT))[132:]
    np.testing.assert_array_equal(decode(bare, "a/b.dcm"), EIGHT)
    with pytest.raises(UnreadableImageError, match="not a PNG, JPEG, TIFF or DICOM image"):
        decode(bare, "a/b.png")


def report() -> Dataset:
    made = dicom(EIGHT, SOPClassUID=BasicTextSRStorage)
    del made.PixelData
    return made


def deflated_bomb() -> bytes:
    made = dicom(EIGHT)
    made.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    made.ImageComments = "x" * 1000
    made.add_new(0x00091001, "UN", bytes(MAX_BYTES + 2))
    return saved(made)


def other_size_inside() -> Dataset:
    made = dicom(EIGHT)
    made.PixelData = encapsulate([cv2.imencode(".jpg", np.zeros((2000, 2000), np.uint8))[1].tobytes()])
    made["PixelData"].is_undefined_length = True
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    return made


def film() -> Dataset:
    made = other_size_inside()
    made.file_meta.TransferSyntaxUID = MPEG2MPML
    return made


REFUSED = {
    "DICOM object without an image (Basic Text SR Storage)": lambda: saved(report()),
    "DICOM file of 3 frames; a radiograph has one": lambda: saved(
        dicom(np.concatenate([EIGHT] * 3), NumberOfFrames=3, Rows=36)
    ),
    "image of 60,000 x 60,000 pixels is larger than 100,000,000 pixels": lambda: saved(
        dicom(EIGHT, Rows=60_000, Columns=60_000)
    ),
    "DICOM file is corrupt or of a kind that no decoder here reads": lambda: saved(dicom(DEEP, 12))[:-100],
    "no decoder here for DICOM's transfer syntax MPEG2 Main Profile / Main Level": lambda: saved(film()),
    "DICOM file is corrupt: its compressed pixels are of another size": lambda: saved(other_size_inside()),
    f"DICOM file unpacks to more than {MAX_BYTES:,} bytes": deflated_bomb,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_radiograph_is_refused_by_name(reason: str) -> None:
    with pytest.raises(UnreadableImageError) as error:
        decode(REFUSED[reason](), "chest.dcm")
    assert str(error.value) == f"chest.dcm: {reason}"


def test_no_message_holds_the_patient() -> None:
    data = saved(dicom(DEEP, 12))
    for end in range(140, len(data), 97):
        with pytest.raises(UnreadableImageError) as error:
            decode(data[:end], "chest.dcm")
        assert NAME not in error.value.render()
        assert NUMBER not in error.value.render()


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(CxrError) as error:
        decode(saved_before, "chest.dcm")
    assert error.value.render() == (
        "error: chest.dcm: reading DICOM files needs pydicom\nhint: pip install 'cxr[dicom]'"
    )


saved_before = saved(dicom(EIGHT))


def test_the_header_says_view_age_and_sex(tmp_path: Path) -> None:
    made = dicom(EIGHT, ViewPosition="AP", ImageLaterality="U", PatientAge="045Y", PatientSex="F")
    (tmp_path / "a.dcm").write_bytes(saved(made))
    assert read_header(tmp_path / "a.dcm") == Header("AP", "U", "045Y", "F")
    (tmp_path / "b.dcm").write_bytes(saved(dicom(EIGHT)))
    (tmp_path / "c.dcm").write_bytes(b"no DICOM file")
    assert read_header(tmp_path / "b.dcm") == read_header(tmp_path / "c.dcm") == Header("", "", "", "")
