"""What is inside a PNG's pixels, with right checksums around it: zlib and PNG's definition say what is sound.

Whatever decodes PNG has to pass here. A decoder that skips the stream's own sum, or what stands behind its end, passes
every test with a byte flipped in a file, as the checksums around the stream find that first.
"""

import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxr.errors import UnreadableImageError
from cxr.images.grey import Grey
from cxr.images.read import decode
from tests.images.test_read import join


def png(stream: bytes, width: int, height: int) -> bytes:
    """A PNG of 8-bit grey around a zlib stream."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return join([(b"IHDR", header), (b"IDAT", stream), (b"IEND", b"")])


def rows_of(width: int, height: int, seed: int) -> bytes:
    """Rows of any bytes, each behind one of the five filters."""
    rng = np.random.default_rng(seed)
    filters = rng.integers(0, 5, (height, 1), np.uint8)
    return np.hstack([filters, rng.integers(0, 256, (height, width), np.uint8)]).tobytes()


def inflate(stream: bytes, length: int) -> bytes | None:
    """The bytes of a stream that is whole, ends where the file does and holds just so many."""
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(stream, length + 1)
        content += reader.decompress(reader.unconsumed_tail, 1)  # the sum may be left
    except zlib.error:
        return None
    return content if len(content) == length and reader.eof and not reader.unused_data else None


def unfilter(content: bytes, width: int, height: int) -> Grey | None:
    """Pixels by the five formulas of PNG's definition, None with an unknown filter."""
    pixels = np.zeros((height + 1, width + 1), int)
    for y in range(height):
        kind, *values = content[y * (width + 1) : (y + 1) * (width + 1)]
        if kind > 4:
            return None
        for x, value in enumerate(values):
            left, above, corner = int(pixels[y + 1, x]), int(pixels[y, x + 1]), int(pixels[y, x])
            nearest = min((left, above, corner), key=lambda one: abs(left + above - corner - one))
            guess = (0, left, above, (left + above) // 2, nearest)[kind]
            pixels[y + 1, x + 1] = (value + guess) % 256
    return np.asarray(pixels[1:, 1:], np.uint8)


def changed(draw: st.DrawFn, stream: bytes) -> bytes:
    """Bytes replaced, cut out or put in, or a piece of the stream doubled; often near its end."""
    at = draw(st.integers(0, len(stream)) | st.integers(max(0, len(stream) - 8), len(stream)))
    if draw(st.booleans()):
        return stream[:at] + draw(st.binary(max_size=4)) + stream[at + draw(st.integers(0, 4)) :]
    return stream[:at] + stream[draw(st.integers(0, len(stream))) :]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, int, int]:
    """(stream, width, height), damaged more often than not, or with rows too few or too many."""
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    spare = draw(st.sampled_from([0, 0, 0, 0, -1, 1, 9]))
    content = rows_of(width, max(0, height + spare), draw(st.integers(0, 99)))
    stream = zlib.compress(content, draw(st.sampled_from([0, 1, 6])))
    return (changed(draw, stream) if draw(st.booleans()) else stream), width, height


SPLICED = zlib.compress(bytes(5))[:-4] + zlib.compress(bytes(5))  # whole, then once more in place of its sum


@settings(max_examples=400, deadline=None)
@given(case=streams())
@example(case=(SPLICED, 4, 1))
def test_pixels_are_those_of_a_sound_stream_and_all_others_are_refused(case: tuple[bytes, int, int]) -> None:
    stream, width, height = case
    content = inflate(stream, (width + 1) * height)
    wanted = None if content is None else unfilter(content, width, height)
    if wanted is None:
        with pytest.raises(UnreadableImageError):
            decode(png(stream, width, height), "x")
    else:
        np.testing.assert_array_equal(decode(png(stream, width, height), "x"), wanted)


ROWS = rows_of(64, 64, 0)
SOUND = zlib.compress(ROWS)
OPEN = zlib.compressobj()
INSIDE = {
    "a wrong sum": SOUND[:-4] + b"abcd",
    "no sum": SOUND[:-4],
    "half a sum": SOUND[:-2],
    "a byte behind": SOUND + b"x",
    "itself behind": SOUND + SOUND,
    "its sum behind": SOUND + SOUND[-4:],
    "a row behind": zlib.compress(ROWS + ROWS[:65]),
    "a byte too few": zlib.compress(ROWS[:-1]),
    "an unknown filter": zlib.compress(b"\x07" + ROWS[1:]),
    "a preset dictionary": b"\x78\xbb" + SOUND[2:],
    "no last block": OPEN.compress(ROWS) + OPEN.flush(zlib.Z_SYNC_FLUSH) + SOUND[-4:],
    "nothing": b"",
}


@pytest.mark.parametrize("stream", INSIDE.values(), ids=INSIDE)
def test_a_png_whose_stream_is_not_whole_is_refused_in_silence(
    stream: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UnreadableImageError, match="image file is corrupt: "):
        decode(png(stream, 64, 64), "x")
    assert capfd.readouterr().err == ""


# one bit of a Huffman table is flipped, for a code that is never used: a lax decoder finds the very bytes of its sum
INCOMPLETE = bytes.fromhex(
    "78da05c1810180300c02302c77790c8355febfc006cf6eec244ae8fa7606bd34f0bd23e7ce1087dba3a1b445ad1593fefb80106d"
)


def test_a_stream_with_an_incomplete_huffman_table_is_refused() -> None:
    with pytest.raises(zlib.error, match="invalid distances set"):
        zlib.decompress(INCOMPLETE)
    with pytest.raises(UnreadableImageError, match="image file is corrupt: "):
        decode(png(INCOMPLETE, 60, 1), "x")
