"""TIFF files of rare kinds, and damage inside their compressed pixels, which libtiff keeps to itself."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxr.errors import UnreadableImageError
from cxr.images.read import decode
from cxr.images.tiff_header import read_tiff_header

RAMP = np.asarray(
    np.add.outer(np.arange(70) * 2, np.arange(60)) + np.random.default_rng(0).integers(0, 40, (70, 60))
)
GREY: npt.NDArray[np.uint8] = np.clip(RAMP, 0, 255).astype(np.uint8)
LACKING = "which no installed decoder reads; save it as PNG"


def tiff(pixels: npt.NDArray[np.uint8], compression: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "TIFF", compression=compression, strip_size=16 * pixels.shape[1])
    return file.getvalue()


def by_hand(data: bytes, *tags: tuple[int, int, int]) -> bytes:
    """A little-endian file of one strip, or of tiles one after the other; a tag is (number, type, value)."""
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(tags))
    return (
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )


def reason(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as error:
        decode(data, "x")
    return error.value.reason


def grey_tags(bits: int, channels: int = 1, photometric: int = 1) -> list[tuple[int, int, int]]:
    return [(256, 3, 60), (257, 3, 70), (258, 3, bits), (259, 3, 1), (262, 3, photometric), (273, 4, 8),
            (277, 3, channels), (278, 3, 70), (279, 4, 60 * 70 * channels * bits // 8)]  # fmt: skip


@pytest.mark.parametrize("compression", ["tiff_adobe_deflate", "packbits", "jpeg"])
@given(start=st.floats(0, 0.9), length=st.integers(64, 400))
@settings(max_examples=8, deadline=None)
def test_a_hole_in_compressed_pixels_is_refused(compression: str, start: float, length: int) -> None:
    data = bytearray(tiff(GREY, compression))
    header = read_tiff_header(bytes(data))
    assert header is not None
    np.testing.assert_allclose(decode(bytes(data), "x"), np.asarray(Image.open(io.BytesIO(data))), atol=2)
    at, size = header.parts[0]
    first = at + int(start * size)
    if compression != "tiff_adobe_deflate":
        first = at + 200 if compression == "jpeg" else at
    data[first : at + size] = bytes(at + size - first)
    assert reason(bytes(data)).startswith("image file is corrupt")


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=30, deadline=None)
def test_a_flipped_bit_of_deflated_pixels_is_refused(place: float, bit: int) -> None:
    data = bytearray(tiff(GREY, "tiff_adobe_deflate"))
    header = read_tiff_header(bytes(data))
    assert header is not None
    at, size = header.parts[1]
    data[at + int(place * size)] ^= 1 << bit
    stream = zlib.decompressobj()
    try:
        same = stream.decompress(data[at : at + size]) == GREY[16:32].tobytes() and stream.eof
    except zlib.error:
        same = False
    if same:  # a bit of the stream's header that changes nothing
        np.testing.assert_array_equal(decode(bytes(data), "x"), GREY)
    else:
        assert reason(bytes(data)).startswith("image file is corrupt")


def test_strips_without_rows_are_refused() -> None:
    data = bytearray(tiff(GREY, "tiff_adobe_deflate"))
    rows_per_strip = data.index(struct.pack("<HHI", 278, 3, 1))
    struct.pack_into("<I", data, rows_per_strip + 8, 0)
    assert reason(bytes(data)) == "image file is corrupt: the decoder refuses it"


def test_four_bits_are_read() -> None:
    nibbles = GREY >> 4
    data = by_hand((nibbles[:, ::2] << 4 | nibbles[:, 1::2]).tobytes(), *grey_tags(4))
    np.testing.assert_array_equal(decode(data, "x"), nibbles * 17)


def test_small_tiles_are_read() -> None:
    padded = np.pad(GREY, ((0, 10), (0, 4))).reshape(5, 16, 4, 16).transpose(0, 2, 1, 3)
    places = struct.pack("<20I", *range(8, 8 + 20 * 256, 256)) + struct.pack("<20I", *[256] * 20)
    data = bytearray(by_hand(padded.tobytes() + places, *[tag for tag in grey_tags(8) if tag[0] not in (273, 278, 279)],
                             (322, 3, 16), (323, 3, 16), (324, 4, 8 + 20 * 256), (325, 4, 88 + 20 * 256)))  # fmt: skip
    for tag in (324, 325):
        struct.pack_into("<I", data, data.index(struct.pack("<HHI", tag, 4, 1)) + 4, 20)
    np.testing.assert_array_equal(decode(bytes(data), "x"), GREY)


def test_without_the_length_of_its_strip_a_file_is_read() -> None:
    tags = [tag for tag in grey_tags(8) if tag[0] not in (278, 279)]
    np.testing.assert_array_equal(decode(by_hand(GREY.tobytes(), *tags), "x"), GREY)
    assert reason(by_hand(GREY[:60].tobytes(), *tags)).startswith("image file is truncated")


def test_grey_with_alpha_that_decoders_misread_is_named() -> None:
    deep = np.dstack([GREY.astype(np.uint16) * 256, np.full(GREY.shape, 65535, np.uint16)])
    apart = np.stack([GREY, np.full_like(GREY, 128)])
    for data, tags in ((deep, grey_tags(16, 2)), (apart, [*grey_tags(8, 2), (284, 3, 2)])):
        assert reason(by_hand(data.tobytes(), *tags)).endswith(LACKING)


def test_cmyk_of_16_bits_is_named() -> None:
    data = np.zeros((70, 60, 4), np.uint16)
    assert reason(by_hand(data.tobytes(), *grey_tags(16, 4, 5))) == f"TIFF of 16-bit CMYK, {LACKING}"


def test_tags_that_share_many_values_take_no_memory() -> None:
    values = bytes(4 << 16)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1 << 16, 8) for tag in range(340))
    where = struct.pack("<I", 8 + len(values))
    data = b"II*\0" + where + values + struct.pack("<H", 340) + entries + bytes(4)
    tracemalloc.start()
    assert reason(data)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
