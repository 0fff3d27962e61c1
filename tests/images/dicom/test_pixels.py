"""Stored values in every layout and transfer syntax, compared with pydicom's and Pillow's."""

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pixel_array

from cxr.errors import UnreadableImageError
from cxr.images.dicom.j2k_header import read_j2k_header
from cxr.images.grey import Grey
from cxr.images.read import decode, read_file
from tests.helpers.dicoms import compressed, encapsulate_jpeg, make_dicom, to_bytes
from tests.images.dicom.test_decode import COLOUR, DEEP, SHALLOW, reason_of

RLE, JPEG_LS, J2K = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"
DRAWS = np.random.default_rng(3)


def grey(dataset: Dataset) -> Grey:
    return decode(to_bytes(dataset), "x.dcm")


def luminance(rgb: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.asarray(Image.fromarray(rgb).convert("L"), np.int64)


def parsed_pixels(dataset: Dataset) -> npt.NDArray[Any]:
    return pixel_array(pydicom.dcmread(io.BytesIO(to_bytes(dataset))))


@settings(max_examples=60, deadline=None)
@given(st.integers(9, 16), st.integers(0, 7), st.booleans(), st.booleans(), st.integers(0, 2**16))
def test_samples_are_found_wherever_high_bit_says(
    stored: int, above: int, signed: bool, rle: bool, seed: int
) -> None:
    draws, above = np.random.default_rng(seed), min(above, 16 - stored)
    samples = draws.integers(0, 2**stored, (6, 9), dtype=np.uint16)
    samples[0, :2] = 0, 2**stored - 1
    shift = draws.integers(0, 16 - stored + 1) if above else 0
    words = draws.integers(0, 2**16, samples.shape).astype(np.uint32)  # whatever else is in a word
    words &= ~np.uint32((2**stored - 1) << shift)
    words = (words | samples.astype(np.uint32) << shift).astype(np.uint16)
    kind: dict[str, Any] = {"PixelRepresentation": int(signed)}
    moved = make_dicom(words, stored, HighBit=int(stored - 1 + shift), **kind)
    plain = grey(make_dicom(samples, stored, **kind))
    np.testing.assert_array_equal(grey(compressed(moved, RLE) if rle else moved), plain)


@pytest.mark.parametrize("syntax", [JPEG_LS, J2K])
def test_whole_words_that_were_compressed_are_cut_like_others(syntax: str) -> None:
    words = (DEEP << 4) | np.uint16(0xB)
    dataset = compressed(make_dicom(words, 16), syntax)
    dataset.BitsStored, dataset.HighBit = 12, 15
    np.testing.assert_array_equal(grey(dataset), grey(make_dicom(DEEP)))


@pytest.mark.parametrize("syntax", [JPEG_LS, J2K])
def test_samples_that_were_compressed_are_not_shifted(syntax: str) -> None:
    dataset = compressed(make_dicom(DEEP), syntax)
    dataset.HighBit = 15
    np.testing.assert_array_equal(grey(dataset), grey(make_dicom(DEEP)))


def planar(pixels: npt.NDArray[Any]) -> bytes:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)).tobytes()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", RLE, JPEG_LS, J2K])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("by_plane", [False, True])
def test_colour_of_8_bits_has_the_luminance_of_pillow(photometric: str, by_plane: bool, syntax: str) -> None:
    pixels = convert_color_space(COLOUR, "RGB", photometric) if photometric != "RGB" else COLOUR
    native = syntax.startswith(("1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"))
    dataset = make_dicom(
        pixels, 8, syntax if native else "1.2.840.10008.1.2.1", PhotometricInterpretation=photometric
    )
    if by_plane and native:
        dataset.PixelData = planar(pixels)
    dataset = dataset if native else compressed(dataset, syntax)
    dataset.PlanarConfiguration = int(by_plane)  # of compressed pixels it says nothing
    assert np.abs(grey(dataset) - luminance(COLOUR)).max() <= (1 if photometric == "RGB" else 2)
    if native or not by_plane:
        assert np.abs(grey(dataset) - luminance(parsed_pixels(dataset))).max() <= 1


def test_half_of_the_colours_are_enough() -> None:
    ybr = convert_color_space(COLOUR, "RGB", "YBR_FULL").reshape(-1, 2, 3)
    halved = np.stack([ybr[:, 0, 0], ybr[:, 1, 0], ybr[:, 0, 1], ybr[:, 0, 2]], axis=1)
    dataset = make_dicom(COLOUR, 8, PhotometricInterpretation="YBR_FULL_422", PixelData=halved.tobytes())
    assert np.abs(grey(dataset) - luminance(parsed_pixels(dataset))).max() <= 1
    whole = make_dicom(
        ybr.reshape(COLOUR.shape), 8, PhotometricInterpretation="YBR_FULL_422"
    )  # its name is wrong
    assert np.abs(grey(whole) - luminance(COLOUR)).max() <= 2


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("by_plane", [False, True])
def test_deep_colour_is_divided_by_the_depth_of_its_brightest_channel(bits: int, by_plane: bool) -> None:
    colour = np.dstack([DEEP, DEEP // 2, DEEP // 3]) >> (12 - min(bits, 12)) << max(0, bits - 12)
    dataset = make_dicom(colour, bits)
    if by_plane:
        dataset.PixelData, dataset.PlanarConfiguration = planar(colour), 1
    expected = colour @ [0.299, 0.587, 0.114] / (2**bits - 1) * 255
    assert np.abs(grey(dataset) - expected).max() <= 1


def palette(number: int, bits: int, first: int = 0) -> dict[str, Any]:
    """A grey palette from black to white, backwards in blue."""
    values = np.linspace(0, 2**bits - 1, number).astype(f"<u{bits // 8}")
    made: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for name, entries in (("Red", values), ("Green", values), ("Blue", values[::-1])):
        made[f"{name}PaletteColorLookupTableDescriptor"] = [number, first, bits]
        made[f"{name}PaletteColorLookupTableData"] = entries.tobytes()
    return made


@pytest.mark.parametrize(("number", "bits"), [(256, 8), (4096, 8), (256, 16), (4096, 16)])
def test_palettes_give_the_luminance_of_their_colours(number: int, bits: int) -> None:
    pixels = SHALLOW if number == 256 else DEEP
    dataset = make_dicom(pixels, 8 if number == 256 else 12, **palette(number, bits))
    share = np.linspace(0, 1, number)[pixels]
    assert np.abs(grey(dataset) - 255 * (0.886 * share + 0.114 * (1 - share))).max() <= 1.5


@pytest.mark.parametrize("photometric", ["CMYK", "HSV", "YBR_PARTIAL_420"])
def test_retired_colours_are_named(photometric: str) -> None:
    dataset = make_dicom(COLOUR, 8, PhotometricInterpretation=photometric)
    assert (
        reason_of(dataset)
        == f"DICOM pixels in {photometric}, which is not read; export it as MONOCHROME2 or RGB"
    )


def test_jpeg_extended_of_12_bits_is_read(cases: Path) -> None:
    pytest.importorskip("gdcm")
    shown = read_file(cases / "11-jpeg-extended-12bit" / "JPGExtended.dcm")
    assert shown.shape == (1024, 256)
    values = [244, 242, 249, 260, 218, 219, 221, 223, 220, 210]  # of another decoder, pylibjpeg-libjpeg
    assert np.abs(shown[420, 140:150] - np.divide(values, 511) * 255).max() <= 1


def test_what_no_decoder_reads_is_not_called_corrupt(cases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ("pillow",))
    with pytest.raises(
        UnreadableImageError, match="JPEG Extended of 12 bits, which no installed decoder reads"
    ):
        read_file(cases / "11-jpeg-extended-12bit" / "JPGExtended.dcm")


def test_damage_that_the_decoder_of_a_jpeg_reports_is_refused() -> None:
    dataset = encapsulate_jpeg(SHALLOW)
    stream = bytearray(frame_of(dataset))
    stream[-9:-2] = bytes(7)
    dataset.PixelData = encapsulate([bytes(stream)])
    assert reason_of(dataset).startswith(
        "DICOM file is corrupt: the decoder of its pixels reports: Corrupt JPEG data"
    )


@pytest.mark.parametrize("marker", ["JFIF", "Adobe", "none"])
@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_colours_of_a_jpeg_are_converted_once_whatever_its_markers(marker: str, photometric: str) -> None:
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, "JPEG", quality=95, subsampling=0)
    stream = file.getvalue()
    if marker != "JFIF":
        adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1" if marker == "Adobe" else b""
        stream = stream[:2] + adobe + stream[20:]
    dataset = encapsulate_jpeg(COLOUR, PhotometricInterpretation=photometric)
    dataset.PixelData = encapsulate([stream])
    assert np.abs(grey(dataset) - luminance(COLOUR)).mean() < 1


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colours_of_a_jpeg_are_known_by_the_ids_of_its_channels(photometric: str) -> None:
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, "JPEG", quality=98, keep_rgb=True)
    stream = file.getvalue()
    start = stream.index(b"\xff\xee")
    stream = stream[:start] + stream[start + 16 :]  # without Adobe's marker
    dataset = encapsulate_jpeg(COLOUR, PhotometricInterpretation=photometric)
    dataset.PixelData = encapsulate([stream])
    seen = np.asarray(Image.open(io.BytesIO(stream)).convert("L"), int)
    assert np.abs(grey(dataset).astype(int) - seen).max() <= 1


def frame_of(dataset: Dataset) -> bytes:
    return next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))


@pytest.mark.parametrize("syntax", [RLE, JPEG_LS, J2K])
def test_a_frame_in_several_fragments_is_read_and_several_frames_are_refused(syntax: str) -> None:
    dataset = compressed(make_dicom(DEEP), syntax)
    frame = frame_of(dataset)
    dataset.PixelData = encapsulate([frame], fragments_per_frame=3, has_bot=False)
    np.testing.assert_array_equal(grey(dataset), grey(make_dicom(DEEP)))
    for has_table in (False, True):
        dataset.PixelData = encapsulate([frame, frame], has_bot=has_table)
        assert reason_of(dataset).startswith("DICOM file of 2 frames: only one image per file is read")


def test_a_second_table_of_offsets_does_not_lead_to_other_pixels() -> None:
    dataset = compressed(make_dicom(DEEP), J2K)
    frame, other = frame_of(dataset), frame_of(compressed(make_dicom(DEEP[:, ::-1]), J2K))
    dataset.PixelData = (
        encapsulate([frame], has_bot=False) + struct.pack("<HHI", 0xFFFE, 0xE000, len(other)) + other
    )
    dataset.ExtendedOffsetTable = struct.pack("<Q", 8 + len(frame))
    dataset.ExtendedOffsetTableLengths = struct.pack("<Q", len(other))
    assert reason_of(dataset).startswith(("DICOM file of 2 frames", "DICOM file is corrupt"))


def codestream(
    width: int, height: int, tile: int, part: bytes = b"\x0b\x01\x01", blocks: int = 4, precincts: bytes = b""
) -> bytes:
    """A JPEG 2000 stream without pixels."""
    siz = struct.pack(">HH8IH", 41, 0, width, height, 0, 0, tile, tile, 0, 0, 1) + part
    cod = struct.pack(">BBHBBBBBB", bool(precincts), 0, 1, 0, 5, blocks, blocks, 0, 1) + precincts
    tiles = struct.pack(">HHHIBB", 0xFF90, 10, 0, 14, 0, 1) + b"\xff\x93"
    return (
        b"\xff\x4f\xff\x51" + siz + b"\xff\x52" + struct.pack(">H", len(cod) + 2) + cod + tiles + b"\xff\xd9"
    )


def test_the_header_of_a_jpeg_2000_stream_is_where_the_decoder_looks() -> None:
    stream, large = codestream(50, 60, 50), codestream(9000, 9000, 9000)
    jp2 = b"\0\0\0\x0cjP  \r\n\x87\n"
    decoy = struct.pack(">I4s", 8 + len(stream), b"free") + stream
    found = [
        read_j2k_header(data) for data in (stream, jp2 + decoy + struct.pack(">I4s", 0, b"jp2c") + large)
    ]
    assert [one[:4] for one in found if one] == [(50, 60, 1, 12), (9000, 9000, 1, 12)]
    for odd in (b"\0" + stream, codestream(50, 60, 0), codestream(50, 60, 50, b"\x0b\x02\x01"), stream[:44],
                stream[:-2], stream[:-3] + b"\xff\xd9", jp2 + decoy):  # fmt: skip
        assert read_j2k_header(odd) is None


@pytest.mark.parametrize(
    ("stream", "is_bomb"),
    [
        (codestream(9000, 9000, 9000), False),
        (codestream(9000, 9000, 1024), False),
        (codestream(9000, 9000, 256, precincts=b"\x88" * 6), False),
        (codestream(9000, 9000, 9), True),
        (codestream(9000, 9000, 9000, blocks=0), True),
        (codestream(9000, 9000, 9000, precincts=b"\x11" * 6), True),
    ],
    ids=["one tile", "tiles", "precincts", "small tiles", "small blocks", "small precincts"],
)
def test_a_jpeg_2000_stream_of_too_many_parts_is_refused(stream: bytes, is_bomb: bool) -> None:
    header = read_j2k_header(stream)
    assert header is not None
    assert header.is_bomb is is_bomb
    dataset = compressed(make_dicom(DEEP), J2K)
    dataset.Rows, dataset.Columns, dataset.PixelData = 9000, 9000, encapsulate([stream])
    if is_bomb:
        assert (
            reason_of(dataset)
            == "DICOM file is corrupt: its pixels are cut into more parts than there is memory for"
        )


def test_a_jpeg_2000_stream_that_lost_its_middle_is_refused() -> None:
    dataset = compressed(make_dicom(DEEP), J2K)
    frame = frame_of(dataset)
    dataset.PixelData = encapsulate([frame[: len(frame) // 2] + b"\xff\xd9"])
    assert reason_of(dataset).startswith("DICOM file is corrupt: its compressed pixels are torn")


def test_rle_stops_at_the_size_of_the_image() -> None:
    dataset = compressed(make_dicom(SHALLOW, 8), RLE)
    segment = b"\x81\x40" * 200_000  # 25 million bytes
    dataset.PixelData = encapsulate([struct.pack("<16I", 1, 64, *[0] * 14) + segment])
    data = to_bytes(dataset)
    tracemalloc.start()
    assert (decode(data, "x.dcm") == 64).all()
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
