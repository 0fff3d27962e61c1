"""Damage that only a decoder sees, headers that mislead, and what they may cost."""

import io
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxr.errors import UnreadableImageError
from cxr.images.decoder_messages import capture_messages, find_damage_in
from cxr.images.dicom.header import Header, read_header
from cxr.images.jpeg_header import read_jpeg_frame
from cxr.images.read import decode, read_file
from tests.helpers.dicoms import make_dicom, to_bytes
from tests.images.test_read import COLOUR, GREY, SMOOTH, encode, join, parts

JPEG = encode(Image.fromarray(GREY), "JPEG", quality=90)
SCAN = JPEG.index(b"\xff\xda") + 10
TORN = JPEG[:SCAN] + JPEG[SCAN + 40 :]


def reason(data: bytes) -> str:
    """Why it is refused, empty where it is read."""
    try:
        decode(data, "x")
    except UnreadableImageError as error:
        return error.reason
    return ""


def spoken(data: bytes) -> str:
    """What OpenCV alone prints about a file, in a process of its own."""
    code = "import sys, cv2, numpy; cv2.imdecode(numpy.frombuffer(sys.stdin.buffer.read(), numpy.uint8), 6)"
    return subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=True
    ).stderr.decode()


def test_what_opencv_prints_about_a_file_becomes_its_reason(capfd: pytest.CaptureFixture[str]) -> None:
    said = spoken(TORN).strip()
    assert said.startswith("Corrupt JPEG data: ")
    assert reason(TORN) == f"image file is corrupt: its decoder reports: {said}"
    assert capfd.readouterr().err == ""


def test_pixels_beyond_the_last_row_of_a_png_are_reported(capfd: pytest.CaptureFixture[str]) -> None:
    header, pixels, end = parts(encode(Image.fromarray(GREY)))
    longer = join([header, (b"IDAT", zlib.compress(zlib.decompress(pixels[1]) + bytes(999))), end])
    assert reason(longer) == "image file is corrupt: its decoder reports: IDAT: Too much image data"
    half = join([header, (b"IDAT", zlib.compress(zlib.decompress(pixels[1])[:500])), end])
    assert reason(half) == "image file is corrupt: the decoder refuses it"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "extra",
    [(b"iCCP", b"x\0\0" + zlib.compress(b"no profile")), (b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000))),
     (b"unKn", bytes(20_000_000)), (b"acTL", struct.pack(">II", 2**31 - 1, 0)), (b"tEXt", b"\xff" * 40)],
    ids=lambda extra: extra[0].decode(),
)  # fmt: skip
def test_a_png_is_read_whatever_is_beside_its_pixels(extra: tuple[bytes, bytes],
                                                     capfd: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    header, pixels, end = parts(encode(Image.fromarray(GREY)))
    np.testing.assert_array_equal(decode(join([header, extra, pixels, end]), "x"), GREY)
    assert capfd.readouterr().err == ""


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(JPEG) - 3), st.integers(0, 7), st.booleans())
def test_no_damage_reaches_the_terminal_without_a_name(at: int, bit: int, cut: bool) -> None:
    damaged = JPEG[:at] + (b"" if cut else bytes([JPEG[at] ^ 1 << bit])) + JPEG[at + 1 :]
    read, write = os.pipe()
    before = os.dup(2)
    os.dup2(write, 2)
    try:
        reason(damaged)
    finally:
        os.dup2(before, 2)
        for descriptor in (write, before):
            os.close(descriptor)
    with os.fdopen(read, "rb") as said:
        assert said.read() == b""


def test_threads_hear_of_their_own_files_alone() -> None:
    found: dict[bool, set[str]] = {True: set(), False: set()}

    def work(is_torn: bool) -> None:
        for _ in range(60):
            found[is_torn].add(reason(TORN if is_torn else JPEG))

    threads = [threading.Thread(target=work, args=(bool(number % 2),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[False] == {""}
    assert len(found[True]) == 1
    assert found[True].pop().startswith("image file is corrupt: its decoder reports: Corrupt JPEG data")


def test_a_message_of_another_thread_still_reaches_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    def shout() -> None:
        cv2.imdecode(np.frombuffer(TORN, np.uint8), cv2.IMREAD_GRAYSCALE)

    with capture_messages() as messages:
        thread = threading.Thread(target=shout)
        thread.start()
        thread.join()
    assert messages == []
    assert capfd.readouterr().err.startswith("Corrupt JPEG data: ")


@pytest.mark.parametrize(
    "line",
    [b"libpng warning: iCCP: known incorrect sRGB profile\n", b"Unknown Adobe color transform code 7\n",
     b"Warning: unknown JFIF revision number 2.01\n", b"Corrupt JPEG data: bad ICC marker\n", b""],
)  # fmt: skip
def test_what_changes_no_pixel_is_no_damage(line: bytes) -> None:
    assert find_damage_in([line]) is None
    assert find_damage_in([line, b"libpng warning: IDAT: \x1b[2J\n"]) == "IDAT: [2J"


def with_markers(*markers: bytes) -> bytes:
    return JPEG[:2] + b"".join(markers) + JPEG[2:]


@pytest.mark.parametrize("marker", [b"\xff\x01", b"\xff\xd3", b"\xff\xff\xff\x01", b"\xff\xfe\0\x06text"])
def test_the_header_is_found_behind_whatever_the_decoder_passes_over(marker: bytes) -> None:
    frame = read_jpeg_frame(with_markers(marker))
    assert frame is not None
    assert (frame.height, frame.width) == GREY.shape


def test_two_frame_headers_are_refused() -> None:
    at = JPEG.index(b"\xff\xc0")
    frame = JPEG[at : at + 13]
    assert reason(JPEG[:at] + frame + JPEG[at:]) == "image file is corrupt: its header says no size"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_size_that_was_checked_is_the_size_that_opencv_decodes(data: st.DataObject) -> None:
    end = JPEG.index(b"\xff\xda")
    broken = bytearray(JPEG)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(2, end))] = data.draw(
            st.sampled_from([0, 1, 2, 8, 0xC0, 0xC2, 0xD0, 0xFE, 0xFF])
        )
    frame = read_jpeg_frame(bytes(broken))
    with capture_messages():
        if frame is None or frame.width * frame.height < 1_000_000:
            pixels = cv2.imdecode(np.frombuffer(bytes(broken), np.uint8), 134)  # no turning
            assert pixels is None or (frame is not None and pixels.shape[:2] == (frame.height, frame.width))


def test_lossless_and_deep_jpegs_are_called_what_they_are() -> None:
    at = JPEG.index(b"\xff\xc0")
    deep = JPEG[: at + 4] + b"\x0c" + JPEG[at + 5 :]
    assert reason(deep) == "JPEG of 12 bits, which no installed decoder reads; save it as PNG"
    lossless = JPEG[:at] + b"\xff\xc5" + JPEG[at + 2 :]
    assert reason(lossless) == "hierarchical JPEG, which no installed decoder reads; save it as PNG"


def test_a_progressive_jpeg_counts_with_what_its_decoder_keeps() -> None:
    frames = [read_jpeg_frame(encode(Image.fromarray(COLOUR), "JPEG", progressive=progressive, subsampling=sampling))
              for progressive, sampling in ((False, 0), (True, 0), (True, 2))]  # fmt: skip
    assert [(frame.samples, frame.is_kept) for frame in frames if frame] == [
        (3, False),
        (3, True),
        (1.5, True),
    ]


def test_a_tiff_whose_tags_are_there_twice_has_the_size_of_the_first() -> None:
    data = encode(Image.fromarray(GREY), "TIFF")
    start = struct.unpack_from("<I", data, 4)[0]
    num = struct.unpack_from("<H", data, start)[0]
    directory = data[start + 2 : start + 2 + 12 * num]
    large = struct.pack("<HHII", 256, 4, 1, 10**9)
    again = struct.pack("<H", num + 1) + large + directory + bytes(4)
    moved = data[:4] + struct.pack("<I", len(data)) + data[8:] + again
    assert reason(moved) == "image of 1,000,000,000 x 37 pixels is larger than 100,000,000 pixels"


def test_a_tiff_with_huge_tiles_is_refused() -> None:
    tags = {256: 40, 257: 40, 258: 8, 259: 1, 262: 1, 277: 1, 322: 20_000, 323: 20_000, 324: 8, 325: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    data = b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert reason(data) == "TIFF with parts of 400,000,000 pixels, which is more than 100,000,000"


def test_a_deep_tiff_with_one_colour_after_another_is_refused() -> None:
    tags = {256: 2, 257: 1, 258: 16, 259: 1, 262: 2, 277: 3, 284: 2, 278: 1, 273: 8, 279: 12}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    data = b"II*\0" + struct.pack("<I", 20) + bytes(12) + struct.pack("<H", len(tags)) + entries + bytes(4)
    assert reason(data).startswith("TIFF of 16 bits with one colour after another")


@pytest.mark.parametrize("length", [0, 5000])
def test_deflated_content_stops_at_the_limit_wherever_the_syntax_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setattr("cxr.images.dicom.dataset.MAX_INFLATED", 1_000_000)
    data = to_bytes(
        make_dicom(np.zeros((4000, 4000), np.uint16), syntax="1.2.840.10008.1.2.1.99", ViewPosition="PA")
    )
    private = struct.pack("<HH2sHI", 2, 1, b"OB", 0, length) + bytes(length)
    syntax = data.index(b"\x02\0\x10\0UI")
    path = tmp_path / "x.dcm"
    path.write_bytes(data[:syntax] + (private if length else b"") + data[syntax:])
    tracemalloc.start()
    with pytest.raises(UnreadableImageError, match=r"inflates to more than 1,000,000 bytes"):
        read_file(path)
    assert read_header(path) == Header()
    assert tracemalloc.get_traced_memory()[1] < 6_000_000  # of 32 million
    tracemalloc.stop()


def test_what_a_decoder_needs_too_much_memory_for_is_refused() -> None:
    header, *_ = parts(encode(Image.fromarray(COLOUR)))
    flat = zlib.compressobj(1)
    pixels = b"".join(flat.compress(bytes(1 << 20)) for _ in range(8)) + flat.flush()
    large = struct.pack(">IIBB", 10_000, 10_000, 16, 6) + header[1][10:]
    assert reason(join([(b"IHDR", large), (b"IDAT", pixels), (b"IEND", b"")])) == (
        "image file is corrupt: the decoder refuses it"
    )
    jpeg = encode(Image.fromarray(COLOUR), "JPEG", progressive=True, subsampling=0)
    at = jpeg.index(b"\xff\xc2")
    jpeg = jpeg[: at + 5] + struct.pack(">HH", 9_999, 10_000) + jpeg[at + 9 :]
    assert (
        reason(jpeg) == "image of 10,000 x 9,999 pixels takes 1.00 GB to decode, which is more than 0.85 GB"
    )


def test_pixels_of_another_size_than_the_header_says_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxr.images.decode.cv2.imdecode", lambda data, flags: SMOOTH)
    assert reason(JPEG) == "image file is corrupt: its pixels have another size than its header says"


def test_a_file_that_is_turned_upright_keeps_its_size() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "PNG", exif=exif)
    assert decode(file.getvalue(), "x").shape == GREY.shape[::-1]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_damage_that_libtiff_reports_is_refused(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = encode(Image.fromarray(GREY), "TIFF", compression=compression)
    middle = len(data) // 2
    torn = data[:middle] + bytes(60) + data[middle + 60 :]
    assert reason(torn) == "image file is corrupt: the decoder refuses it"
    assert capfd.readouterr().err == ""


def test_no_memory_is_not_taken_for_a_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: object, flags: int) -> None:
        error = cv2.error("Insufficient memory")
        error.code = -4
        raise error

    monkeypatch.setattr("cxr.images.decode.cv2.imdecode", fail)
    with pytest.raises(MemoryError):
        decode(JPEG, "x")
