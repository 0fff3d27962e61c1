import io
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from cxr.errors import CxrError, UnreadableImageError
from cxr.images.grey import Grey
from cxr.images.read import decode, read_file
from tests.helpers.dicoms import encapsulate_jpeg, make_dicom, table_item, to_bytes

DRAWS = np.random.default_rng(0)
DEEP = np.asarray(np.add.outer(np.arange(60) * 40, np.arange(50) * 34), np.uint16)  # 0 to 4,026
DEEP[0, 0], DEEP[-1, -1] = 0, 4095
SIGNED = (DEEP.astype(np.int32) - 2048).astype(np.int16)
SHALLOW = (DEEP // 16).astype(np.uint8)
COLOUR = np.dstack([SHALLOW, SHALLOW[::-1], 255 - SHALLOW])
SYNTAXES = {
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "near-lossless JPEG-LS": "1.2.840.10008.1.2.4.81",
    "JPEG 2000 lossless": "1.2.840.10008.1.2.4.90",
}
CURVE = [min(4095, round(value**1.1 / 2.3)) for value in range(4096)]


def grey(dataset: Dataset, name: str = "x.dcm") -> Grey:
    return decode(to_bytes(dataset), name)


def reference(dataset: Dataset, low: float, high: float) -> npt.NDArray[np.float64]:
    """pydicom's pipeline over the pixels, its output range low to high onto 0 to 255."""
    parsed = pydicom.dcmread(io.BytesIO(to_bytes(dataset)))
    values = apply_voi_lut(apply_modality_lut(pixel_array(parsed), parsed), parsed).astype(np.float64)
    share = (values - low) / (high - low)
    return np.asarray(255 * (1 - share if parsed.PhotometricInterpretation == "MONOCHROME1" else share))


def reason_of(dataset: Dataset | bytes, name: str = "x.dcm") -> str:
    with pytest.raises(UnreadableImageError) as error:
        decode(dataset if isinstance(dataset, bytes) else to_bytes(dataset), name)
    assert "SECRET" not in error.value.render()
    return error.value.reason


WINDOW: dict[str, Any] = {"WindowCenter": 1800, "WindowWidth": 2500}
RESCALE: dict[str, Any] = {"RescaleSlope": 0.5, "RescaleIntercept": -100}


@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(
    ("pixels", "elements", "low", "high"),
    [
        (DEEP, {}, 0, 4095),
        (DEEP, WINDOW, 0, 4095),
        (DEEP, WINDOW | {"VOILUTFunction": "LINEAR_EXACT"}, 0, 4095),
        (DEEP, WINDOW | {"VOILUTFunction": "SIGMOID"}, 0, 4095),
        (DEEP, {"WindowCenter": [1800, 40], "WindowWidth": [2500, 80]}, 0, 4095),
        (DEEP, RESCALE, -100, 1947.5),
        (DEEP, RESCALE | WINDOW, -100, 1947.5),
        (SIGNED, {}, -2048, 2047),
        (SIGNED, {"WindowCenter": -200, "WindowWidth": 900}, -2048, 2047),
        (SIGNED, {"RescaleSlope": 2, "RescaleIntercept": 7}, -4089, 4101),
        (SHALLOW, {}, 0, 255),
        (DEEP, {"VOILUTSequence": [table_item(CURVE, 0, 12)]}, 0, 4095),
        (DEEP, {"VOILUTSequence": [table_item(CURVE[:1000], 500, 12)]} | WINDOW, 0, 4095),
        (SIGNED, {"VOILUTSequence": [table_item(CURVE, -2048, 12)]}, 0, 4095),
        (DEEP, {"ModalityLUTSequence": [table_item([16 * one for one in CURVE], 0, 16)]}, 0, 65535),
        (DEEP, {"ModalityLUTSequence": [table_item([16 * one for one in CURVE], 0, 16)]} | WINDOW, 0, 65535),
    ],
    ids=["plain", "window", "exact window", "sigmoid", "two windows", "rescale", "rescale and window", "signed",
         "signed window", "signed rescale", "8 bit", "table", "short table and window", "signed table",
         "modality table", "modality table and window"],
)  # fmt: skip
def test_grey_values_are_those_of_pydicoms_pipeline(
    kind: str, pixels: npt.NDArray[np.uint16], elements: dict[str, Any], low: float, high: float
) -> None:
    dataset = make_dicom(pixels, PhotometricInterpretation=kind, **elements)
    assert np.abs(grey(dataset) - reference(dataset, low, high)).max() <= 0.5 + 1e-9


def test_a_table_of_many_8_bit_entries_does_not_wrap_around() -> None:
    dataset = make_dicom(DEEP, VOILUTSequence=[table_item([one // 16 for one in range(4096)], 0, 8)])
    np.testing.assert_array_equal(grey(dataset), DEEP // 16)


def test_a_negative_slope_turns_the_values_and_a_window_on_them_does_not_turn_them_back() -> None:
    slope: dict[str, Any] = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    plain = grey(make_dicom(DEEP, **slope))
    np.testing.assert_array_equal(plain, 255 - grey(make_dicom(DEEP)))
    whole = grey(make_dicom(DEEP, **slope, WindowCenter=2048, WindowWidth=4096))
    np.testing.assert_allclose(whole, plain, atol=1)


@pytest.mark.parametrize(
    "elements",
    [{"WindowCenter": None, "WindowWidth": None}, {"WindowCenter": 5, "WindowWidth": 0}, {"RescaleSlope": None},
     {"RescaleSlope": None, "RescaleIntercept": None}, {"VOILUTSequence": []}, {"VOILUTSequence": [Dataset()]},
     {"VOILUTFunction": "CURVED"}],
)  # fmt: skip
def test_empty_and_impossible_transforms_count_as_absent(elements: dict[str, Any]) -> None:
    np.testing.assert_array_equal(grey(make_dicom(DEEP, **elements)), grey(make_dicom(DEEP)))


def test_padding_is_black_in_both_polarities_and_no_part_of_the_range() -> None:
    padded = DEEP.copy()
    padded[:5] = 4095
    for kind in ("MONOCHROME1", "MONOCHROME2"):
        data = to_bytes(make_dicom(padded, PhotometricInterpretation=kind, PixelPaddingValue=4095))
        assert not decode(data, "x", "range")[:5].any()
        assert decode(data, "x", "range").max() == 255


def test_range_takes_the_smallest_and_largest_of_all_bits() -> None:
    narrow = (1000 + DEEP // 40).astype(np.uint16)
    share = (narrow - 1000.0) / (narrow.max() - 1000)
    assert np.abs(decode(to_bytes(make_dicom(narrow)), "x", "range") - share * 255).max() <= 0.5 + 1e-9


def test_a_drawing_in_the_unused_bits_is_not_seen() -> None:
    np.testing.assert_array_equal(grey(make_dicom(DEEP | np.uint16(0x8000))), grey(make_dicom(DEEP)))


@pytest.mark.parametrize("pixels", [DEEP, SIGNED, SHALLOW], ids=["12 bit", "signed", "8 bit"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"])
def test_uncompressed_files_read_the_same_in_every_syntax(
    pixels: npt.NDArray[np.uint16], syntax: str
) -> None:
    np.testing.assert_array_equal(grey(make_dicom(pixels, syntax=syntax)), grey(make_dicom(pixels)))


COMPRESSED = [
    pytest.param(name, pixels, id=f"{name}, {kind}")
    for name in SYNTAXES
    for kind, pixels in (("12 bit", DEEP), ("signed", SIGNED), ("8 bit", SHALLOW))
    if (name, kind) != ("near-lossless JPEG-LS", "signed")  # not defined
]


@pytest.mark.parametrize(("name", "pixels"), COMPRESSED)
def test_compressed_files_read_as_uncompressed_ones(name: str, pixels: npt.NDArray[np.uint16]) -> None:
    dataset = make_dicom(pixels)
    expected = grey(dataset).astype(int)
    dataset.compress(SYNTAXES[name], jls_error=1 if "near" in name else None)
    assert np.abs(grey(dataset) - expected).max() <= (1 if "near" in name else 0)


def test_lossy_jpeg_2000_is_close() -> None:
    dataset = make_dicom(SHALLOW, 8)
    dataset.compress("1.2.840.10008.1.2.4.91", j2k_psnr=[50])
    assert np.abs(grey(dataset) - SHALLOW.astype(int)).mean() < 2


@pytest.fixture
def lossless(tmp_path: Path) -> Path:
    """DEEP in lossless JPEG."""
    return compress_losslessly(tmp_path, make_dicom(DEEP))


def compress_losslessly(tmp_path: Path, dataset: Dataset) -> Path:
    gdcm = pytest.importorskip("gdcm")
    (tmp_path / "plain.dcm").write_bytes(to_bytes(dataset))
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(tmp_path / "lossless.dcm"))
    assert writer.Write()
    return tmp_path / "lossless.dcm"


def test_lossless_jpeg_reads_as_uncompressed(lossless: Path) -> None:
    assert pydicom.dcmread(lossless).file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")
    np.testing.assert_array_equal(read_file(lossless), grey(make_dicom(DEEP)))


@pytest.mark.parametrize("pixels", [DEEP, SIGNED], ids=["unsigned", "signed"])
def test_samples_of_lossless_jpeg_are_where_highbit_says(tmp_path: Path, pixels: npt.NDArray[Any]) -> None:
    path = compress_losslessly(tmp_path, make_dicom(np.asarray(pixels << 4, pixels.dtype), 16))
    dataset = pydicom.dcmread(path)
    dataset.BitsStored, dataset.HighBit = 12, 15
    np.testing.assert_array_equal(grey(dataset), grey(make_dicom(pixels)))


def test_lossless_jpeg_that_takes_too_much_memory_is_refused_by_its_size(
    lossless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr.images.limits.MAX_DECODING_BYTES", 40_000)
    reason = reason_of(lossless.read_bytes())
    assert reason.startswith("image of 50 x 60 pixels takes 0.00 GB to decode, which is more than")


def test_no_module_of_the_current_folder_is_run(
    lossless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "pydicom", "numpy", "resource", "cxr", "gdcm", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(read_file(lossless), grey(make_dicom(DEEP)))


def test_a_decoder_that_crashes_costs_its_file_alone(lossless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = lossless.with_name("crash")
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crash))
    assert reason_of(lossless.read_bytes()) == "DICOM file is corrupt: its header or pixels cannot be decoded"


def test_a_decoder_that_cannot_run_says_nothing_of_the_file(
    lossless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = lossless.with_name("killed")
    killed.write_text("#!/bin/sh\nkill -KILL $$\n")
    killed.chmod(0o755)
    for program in (killed, lossless):  # one is killed, the other is no program
        monkeypatch.setattr("sys.executable", str(program))
        with pytest.raises(CxrError, match="the decoder of lossless JPEG in DICOM does not run") as error:
            read_file(lossless)
        assert not isinstance(error.value, UnreadableImageError)


def test_baseline_jpeg_in_grey_and_colour_is_close() -> None:
    assert np.abs(grey(encapsulate_jpeg(SHALLOW)) - SHALLOW.astype(int)).max() <= 4
    colour = grey(encapsulate_jpeg(COLOUR, PhotometricInterpretation="YBR_FULL_422"))
    assert np.abs(colour - COLOUR @ [0.299, 0.587, 0.114]).mean() < 2


def test_colour_becomes_luminance() -> None:
    assert np.abs(grey(make_dicom(COLOUR, 8)) - COLOUR @ [0.299, 0.587, 0.114]).max() <= 1


@pytest.mark.parametrize("name", ["x.DCM", "IM0001", "x.png"])
def test_a_file_without_a_preamble_is_known_by_its_content(name: str) -> None:
    bare = to_bytes(make_dicom(DEEP), preamble=False)
    np.testing.assert_array_equal(decode(bare, name), grey(make_dicom(DEEP)))
    assert reason_of(bare[:2] + bare[4:], "IM0001") == "not a PNG, JPEG, TIFF or DICOM image"
    assert reason_of(b"plain text", "x.dcm") == "not a PNG, JPEG, TIFF or DICOM image"


def test_the_content_decides_whatever_the_name() -> None:
    np.testing.assert_array_equal(grey(make_dicom(DEEP), "x.png"), grey(make_dicom(DEEP)))


def without(*keywords: str) -> Dataset:
    dataset = make_dicom(DEEP)
    for keyword in keywords:
        delattr(dataset, keyword)
    return dataset


def test_objects_without_an_image_are_named() -> None:
    report = without("PixelData", "Rows", "Columns")
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    assert reason_of(report) == "DICOM object without an image (Basic Text SR Storage)"
    report.SOPClassUID = "1.2.3.4.5"
    assert reason_of(report) == "DICOM object without an image (unknown kind)"
    assert (
        reason_of(without("PixelData"))
        == "DICOM file without pixels: it is truncated, or its pixels are elsewhere"
    )


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        (
            {"NumberOfFrames": 3},
            "DICOM file of 3 frames: only one image per file is read; export the frame as a separate file",
        ),
        (
            {"Rows": 20_000, "Columns": 10_000},
            "image of 10,000 x 20,000 pixels is larger than 100,000,000 pixels",
        ),
        (
            {"Rows": 0},
            "DICOM image of 50 x 0 pixels with 1 values of 16 bits, 12 stored: grey or colour of 8 to",
        ),
        (
            {"BitsAllocated": 32},
            "DICOM image of 50 x 60 pixels with 1 values of 32 bits, 12 stored: grey or colour of",
        ),
        (
            {"BitsStored": 17},
            "DICOM image of 50 x 60 pixels with 1 values of 16 bits, 17 stored: grey or colour of",
        ),
        ({"PixelData": DEEP.tobytes()[:-2]}, "image file is truncated ("),
        (
            {"PhotometricInterpretation": "SECRET"},
            "DICOM file is corrupt: its PhotometricInterpretation is unknown with",
        ),
        (
            {"PhotometricInterpretation": "RGB"},
            "DICOM file is corrupt: its PhotometricInterpretation is RGB with 1 val",
        ),
        ({"HighBit": 10}, "DICOM file is corrupt: HighBit 10 with 12 bits of 16 stored"),
        ({"HighBit": 16}, "DICOM file is corrupt: HighBit 16 with 12 bits of 16 stored"),
        (
            {"PixelData": DEEP.tobytes() * 2},
            "DICOM file of 2 frames: only one image per file is read; export the frame as a separate file",
        ),
    ],
)
def test_what_is_no_single_whole_image_is_named(elements: dict[str, Any], reason: str) -> None:
    window = WINDOW if "PhotometricInterpretation" in elements else {}
    assert reason_of(make_dicom(DEEP, **window, **elements)).startswith(reason)


@pytest.mark.parametrize(
    "keyword",
    ["Rows", "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PhotometricInterpretation"],
)
def test_a_lacking_element_is_named(keyword: str) -> None:
    assert reason_of(without(keyword)) == f"DICOM file is corrupt: its header lacks {keyword}"


@pytest.mark.parametrize(
    ("syntax", "name"),
    [("1.2.840.10008.1.2.4.52", "JPEG Extended (Process 3 and 5)"), ("1.2.3.4", "a private transfer syntax")],
)
def test_a_compression_that_nothing_reads_is_named(syntax: str, name: str) -> None:
    data = to_bytes(encapsulate_jpeg(SHALLOW)).replace(
        b"1.2.840.10008.1.2.4.50", syntax.encode().ljust(22, b"\0")
    )
    assert reason_of(data).startswith(f"DICOM pixels in {name}, which no installed decoder reads")


@pytest.mark.parametrize("name", ["JPEG", *SYNTAXES])
def test_a_compressed_frame_of_another_size_than_the_header_is_refused(name: str) -> None:
    dataset = encapsulate_jpeg(SHALLOW) if name == "JPEG" else make_dicom(SHALLOW, 8)
    if name != "JPEG":
        dataset.compress(SYNTAXES[name])
    dataset.Rows = 600
    assert reason_of(dataset).startswith("DICOM file is corrupt: its ")


def test_a_compressed_frame_that_is_cut_off_is_truncated() -> None:
    dataset = make_dicom(SHALLOW, 8)
    dataset.compress(SYNTAXES["JPEG 2000 lossless"])
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    assert reason_of(dataset).startswith("image file is truncated")


def test_deflated_content_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = to_bytes(make_dicom(np.zeros((800, 800), np.uint16), syntax="1.2.840.10008.1.2.1.99"))
    monkeypatch.setattr("cxr.images.dicom.dataset.MAX_INFLATED", 1_000_000)
    assert len(data) < 10_000
    assert reason_of(data) == "DICOM file inflates to more than 1,000,000 bytes"


def every_kind() -> list[bytes]:
    """A file in each transfer syntax, with a window and a table."""
    elements: dict[str, Any] = WINDOW | {"VOILUTSequence": [table_item(CURVE, 0, 12)]}
    syntaxes = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99")
    files = [to_bytes(make_dicom(DEEP, syntax=syntax, **elements)) for syntax in syntaxes]
    for syntax in SYNTAXES.values():
        dataset = make_dicom(DEEP)
        dataset.compress(syntax)
        files.append(to_bytes(dataset))
    return [*files, to_bytes(encapsulate_jpeg(SHALLOW))]


@pytest.mark.parametrize("kind", range(7))
def test_a_file_cut_anywhere_is_refused(kind: int) -> None:
    data = every_kind()[kind]
    for length in {*range(0, len(data) - 20, max(1, len(data) // 60)), len(data) - 30}:
        assert reason_of(data[:length])


@pytest.mark.parametrize("kind", range(7))
def test_flipped_bytes_give_pixels_or_a_named_refusal(kind: int) -> None:
    data = every_kind()[kind]
    for _ in range(150):
        broken = bytearray(data)
        for at in DRAWS.integers(132, len(data), 3):
            broken[at] ^= int(DRAWS.integers(1, 256))
        try:
            assert decode(bytes(broken), "x.dcm").dtype == np.uint8
        except UnreadableImageError as error:
            assert "SECRET" not in error.render()


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = to_bytes(make_dicom(DEEP))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(CxrError) as error:
        decode(data, "x.dcm")
    assert error.value.render() == "error: x.dcm: reading DICOM needs pydicom\nhint: pip install 'cxr[dicom]'"


@pytest.mark.parametrize(
    "kind", ["elements", "items", "items of a known length", "deflated items", "deflated elements"]
)
def test_a_file_of_millions_of_elements_is_refused_by_their_number(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxr.images.dicom.dataset.MAX_ELEMENTS", 10_000)
    monkeypatch.setattr("cxr.images.dicom.dataset._MAX_SEQUENCE_BYTES", 100_000)
    if "elements" in kind:
        numbers = np.arange(50_000, dtype="<u2")
        many = b"".join(b"\x09\0" + number.tobytes() + b"LO\0\0" for number in numbers)
    else:
        length = b"\xff\xff\xff\xff" if "known" not in kind else (400_000).to_bytes(4, "little")
        tag = b"\x28\0\x10\x30" if "known" in kind else b"\x08\0\x40\x11"
        many = tag + b"SQ\0\0" + length + b"\xfe\xff\0\xe0\0\0\0\0" * 50_000
    dataset = make_dicom(SHALLOW, 8)
    whole = to_bytes(dataset)
    if kind.startswith("deflated"):
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.1.99")
        whole = to_bytes(dataset)
        start = 144 + int.from_bytes(whole[140:144], "little")
        stream = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = whole[:start] + stream.compress(many) + stream.flush()
    elif "known" in kind:
        data = whole[: whole.index(b"\xe0\x7f\x10\0")] + many + whole[whole.index(b"\xe0\x7f\x10\0") :]
    else:
        data = whole[: 144 + int.from_bytes(whole[140:144], "little")] + many
    assert reason_of(data) == "DICOM file of more than 10,000 elements"
