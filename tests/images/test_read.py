import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from cxr.errors import UnreadableImageError
from cxr.images.grey import Grey
from cxr.images.prepare import Fit, Preprocess, prepare, undo_fit, undo_prepare
from cxr.images.read import decode, read_file

FITS: tuple[Fit, ...] = ("pad", "squash", "crop")
SHAPES = ((61, 40), (40, 61), (52, 52), (7, 90), (300, 170), (170, 300))
DRAWS = np.random.default_rng(0)
GREY = DRAWS.integers(0, 256, (37, 53), dtype=np.uint8)
COLOUR = DRAWS.integers(0, 256, (37, 53, 3), dtype=np.uint8)
ALPHA = DRAWS.integers(0, 256, (37, 53, 1), dtype=np.uint8)
DEEP = DRAWS.integers(0, 65536, (37, 53), dtype=np.uint16)
SMOOTH = np.add.outer(np.arange(80), np.arange(70)).astype(np.uint8)


def encode(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def luminance(picture: Image.Image) -> npt.NDArray[np.int64]:
    """Pillow's grey of the colours alone, whatever the alpha."""
    return np.asarray(picture.convert("RGB").convert("L"), np.int64)


def parts(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, content) of each part of a PNG."""
    at, found = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def join(png: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A PNG of these parts, with right checksums."""
    blocks = (struct.pack(">I", len(part)) + kind + part + _crc(kind + part) for kind, part in png)
    return b"\x89PNG\r\n\x1a\n" + b"".join(blocks)


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))


def reason_of(data: bytes) -> str:
    with pytest.raises(UnreadableImageError) as error:
        decode(data, "x.png")
    assert str(error.value) == f"x.png: {error.value.reason}"
    return error.value.reason


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(GREY),
        Image.fromarray(np.dstack([GREY] * 3)),
        Image.fromarray(np.dstack([GREY, GREY, GREY, ALPHA])),
        Image.fromarray(np.dstack([GREY, ALPHA]), "LA"),
        Image.fromarray(GREY).convert("P"),
        Image.fromarray(GREY > 127),
    ],
    ids=["grey", "rgb", "rgba", "grey and alpha", "palette", "1 bit"],
)
def test_grey_pictures_keep_their_pixels_however_they_are_stored(picture: Image.Image) -> None:
    np.testing.assert_array_equal(decode(encode(picture), "x"), luminance(picture))


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(COLOUR),
        Image.fromarray(np.dstack([COLOUR, ALPHA])),
        Image.fromarray(COLOUR).quantize(64),
    ],
    ids=["rgb", "rgba", "palette"],
)
def test_colour_becomes_the_luminance_of_pillow_and_alpha_changes_nothing(picture: Image.Image) -> None:
    assert (
        np.abs(decode(encode(picture), "x") - luminance(picture)).max() <= 1
    )  # both round, each at another step


@pytest.mark.parametrize("bits", [8, 9, 12, 14, 16])
def test_deep_pictures_are_divided_by_the_bit_depth_they_use(bits: int) -> None:
    deep = DEEP >> (16 - bits)
    deep[0, 0] = 2**bits - 1
    np.testing.assert_array_equal(
        decode(encode(Image.fromarray(deep)), "x"), np.rint(deep / (2**bits - 1) * 255)
    )


def test_a_dark_deep_picture_is_not_brightened_beyond_8_bits() -> None:
    dark = (GREY // 8).astype(np.uint16)
    np.testing.assert_array_equal(decode(encode(Image.fromarray(dark)), "x"), GREY // 8)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(
    "pixels", [SMOOTH, np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH])], ids=["grey", "colour"]
)
def test_jpegs_come_out_as_pillow_reads_them(pixels: Grey, progressive: bool) -> None:
    data = encode(Image.fromarray(pixels), "JPEG", quality=90, progressive=progressive)
    difference = np.abs(decode(data, "x") - luminance(Image.open(io.BytesIO(data))))
    assert (
        difference.max() <= 3
    )  # decoders may differ in the inverse transform and in the colour's upsampling
    assert difference.mean() < 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_images_are_turned_upright_as_pillow_turns_them(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    data = encode(Image.fromarray(SMOOTH), kind, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))), np.int64)
    assert decode(data, "x").shape == expected.shape
    assert np.abs(decode(data, "x") - expected).max() <= 2


def test_a_damaged_exif_part_turns_nothing() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    data = encode(Image.fromarray(SMOOTH), "JPEG", exif=exif)
    broken = data.replace(b"Exif\0\0MM\0*", b"Exif\0\0\xff\xff\xff\xff")
    assert decode(broken, "x").shape == SMOOTH.shape


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "1", "P", "CMYK"])
def test_tiffs_have_the_luminance_of_pillow(mode: str, compression: str | None) -> None:
    picture = Image.fromarray(np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH])).convert(
        mode if mode != "LA" else "L"
    )
    if mode in ("LA", "RGBA"):
        picture.putalpha(Image.fromarray(SMOOTH))
    data = encode(picture, "TIFF", compression=compression)
    assert np.abs(decode(data, "x.png") - luminance(Image.open(io.BytesIO(data)))).max() <= 2


@pytest.mark.parametrize("photometric", [0, 1])
def test_16_bit_tiffs_are_divided_by_their_bit_depth(photometric: int) -> None:
    deep = DEEP >> 4
    deep[0, :2] = 0, 4095
    data = encode(Image.fromarray(deep), "TIFF", tiffinfo={262: photometric})
    share = np.rint(deep / 4095 * 255)
    assert np.abs(decode(data, "x") - (share if photometric else 255 - share)).max() <= 0


def test_tiffs_that_are_no_single_whole_8_or_16_bit_image_are_named() -> None:
    grey, flat = Image.fromarray(GREY), Image.fromarray(GREY.astype(np.float32))
    pages = encode(grey, "TIFF", save_all=True, append_images=[grey])
    advice = "only one image per file is read; save the page as a separate file"
    assert reason_of(pages) == f"TIFF of several pages: {advice}"
    assert (
        reason_of(encode(flat, "TIFF"))
        == "TIFF of 32-bit floating-point values: 8 or 16 unsigned bits are read"
    )
    large = encode(grey, "TIFF").replace(
        struct.pack("<HHII", 256, 4, 1, 53), struct.pack("<HHII", 256, 4, 1, 10**9)
    )
    large = large.replace(struct.pack("<HHIHH", 256, 3, 1, 53, 0), struct.pack("<HHII", 256, 4, 1, 10**9))
    assert reason_of(large) == "image of 1,000,000,000 x 37 pixels is larger than 100,000,000 pixels"


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_a_tiff_cut_anywhere_is_truncated(compression: str | None) -> None:
    data = encode(Image.fromarray(GREY), "TIFF", compression=compression)
    for length in range(4, len(data) - 1, 37):
        assert reason_of(data[:length]) == f"image file is truncated ({length:,} bytes)"


@pytest.mark.parametrize("change", ["none", "YCCK", "no Adobe marker"])
def test_four_channel_jpegs_come_out_as_pillow_reads_them(change: str) -> None:
    picture = Image.fromarray(np.dstack([SMOOTH, SMOOTH // 2, 255 - SMOOTH])).convert("CMYK")
    data = encode(picture, "JPEG", quality=95)
    at = data.index(b"\xff\xee")
    if change == "YCCK":
        data = data[: at + 15] + b"\2" + data[at + 16 :]
    if change == "no Adobe marker":
        data = data[:at] + data[at + 16 :]
    assert np.abs(decode(data, "x") - luminance(Image.open(io.BytesIO(data)))).max() <= 3


@pytest.mark.parametrize("channels", [3, 4])
def test_deep_colour_is_divided_by_the_depth_of_its_brightest_channel(channels: int) -> None:
    colour = np.dstack([DEEP, DEEP // 2, DEEP // 3, DEEP][:channels])
    data = cv2.imencode(".png", colour)[1].tobytes()
    expected = colour[..., :3] @ [0.114, 0.587, 0.299] / 65535 * 255
    assert np.abs(decode(data, "x") - expected).max() <= 1


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("BMP", "BMP"),
        ("GIF", "GIF"),
        ("WEBP", "WebP"),
        ("AVIF", "AVIF"),
        ("JPEG2000", "JPEG 2000"),
        ("PPM", "PGM"),
    ],
)
def test_other_kinds_of_image_are_named_with_what_to_do(kind: str, name: str) -> None:
    reason = f"not a PNG, JPEG, TIFF or DICOM image: it is {name}; save it as PNG"
    assert reason_of(encode(Image.fromarray(GREY), kind)) == reason


@pytest.mark.parametrize(
    "pixels", [SMOOTH // 3 + 40, (SMOOTH.astype(np.uint16) * 9 + 700)], ids=["8 bit", "16 bit"]
)
def test_range_stretches_from_the_smallest_to_the_largest(pixels: npt.NDArray[np.uint16]) -> None:
    low, high = int(pixels.min()), int(pixels.max())
    stretched = decode(encode(Image.fromarray(pixels)), "x", "range")
    assert np.abs(stretched - (pixels - np.float64(low)) / (high - low) * 255).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True})])
@pytest.mark.parametrize("pixels", [GREY, SMOOTH, COLOUR], ids=["noise", "smooth", "colour"])
def test_a_file_cut_anywhere_is_named_as_truncated(pixels: Grey, kind: str, options: dict[str, bool]) -> None:
    data = encode(Image.fromarray(pixels), kind, **options)
    for length in {*range(8, min(len(data) - 2, 400)), *range(400, len(data) - 2, 61), len(data) - 2}:
        assert reason_of(data[:length]) == f"image file is truncated ({length:,} bytes)"


def test_a_jpeg_whose_thumbnail_is_whole_is_still_truncated() -> None:
    thumbnail = encode(Image.fromarray(SMOOTH[:16, :16]), "JPEG")
    data = encode(Image.fromarray(SMOOTH), "JPEG", comment=thumbnail)
    for length in range(len(thumbnail) + 200, len(data) - 1, 37):
        with pytest.raises(UnreadableImageError, match=r"truncated|corrupt: its header says no size"):
            decode(data[:length], "x.jpg")
    assert decode(data, "x.jpg").shape == SMOOTH.shape


@pytest.mark.parametrize("tail", [b"\0" * 9, b"trailing text", b"\r\n"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_bytes_after_the_end_of_the_image_do_no_harm(kind: str, tail: bytes) -> None:
    data = encode(Image.fromarray(SMOOTH), kind)
    np.testing.assert_array_equal(decode(data + tail, "x"), decode(data, "x"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "file is empty (0 bytes)"),
        (b"not an image\n", "not a PNG, JPEG, TIFF or DICOM image"),
        (b"\x89PNG", "not a PNG, JPEG, TIFF or DICOM image"),
        (b"%PDF-1.7\n", "not a PNG, JPEG, TIFF or DICOM image: it is a PDF; save its image as PNG"),
        (b"\0\0\0 ftypheic\0", "not a PNG, JPEG, TIFF or DICOM image: it is HEIC; save it as PNG"),
        (b"\xff\x0a" + bytes(50), "not a PNG, JPEG, TIFF or DICOM image: it is JPEG XL; save it as PNG"),
        (b"BMW drove by", "not a PNG, JPEG, TIFF or DICOM image"),
        (bytes(128) + b"DICM" + bytes(400), "not a PNG, JPEG, TIFF or DICOM image"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "image file is truncated (54 bytes)"),
    ],
)
def test_what_is_no_image_is_named(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


def test_flipped_bytes_in_a_png_are_named_with_their_part() -> None:
    data = encode(Image.fromarray(GREY))
    start = data.index(b"IDAT") - 4
    for at in range(start + 8, len(data) - 16, 53):
        flipped = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        assert (
            reason_of(flipped) == f"image file is corrupt: checksum of its IDAT part at byte {start} is wrong"
        )


@pytest.mark.parametrize(
    "fault", ["no pixels", "half the pixels", "flipped pixels", "unknown filter", "no width"]
)
def test_a_png_with_right_checksums_and_wrong_content_is_refused(fault: str) -> None:
    header, pixels, end = parts(encode(Image.fromarray(GREY)))
    content = zlib.decompress(pixels[1])
    png = {
        "no pixels": [header, end],
        "half the pixels": [header, (b"IDAT", zlib.compress(content[: len(content) // 2])), end],
        "flipped pixels": [header, (b"IDAT", pixels[1][:-4] + bytes(4)), end],
        "unknown filter": [header, (b"IDAT", zlib.compress(b"\x09" + content[1:])), end],
        "no width": [(b"IHDR", bytes(4) + header[1][4:]), pixels, end],
    }[fault]
    assert reason_of(join(png)) == "image file is corrupt: the decoder refuses it"


def test_an_oversized_png_is_refused_before_it_is_decoded() -> None:
    header, *rest = parts(encode(Image.fromarray(GREY)))
    data = join([(b"IHDR", struct.pack(">II", 20_000, 10_000) + header[1][8:]), *rest])
    assert reason_of(data) == "image of 20,000 x 10,000 pixels is larger than 100,000,000 pixels"


@pytest.mark.parametrize("progressive", [False, True])
def test_an_oversized_jpeg_is_refused_before_it_is_decoded(progressive: bool) -> None:
    data = bytearray(encode(Image.fromarray(GREY), "JPEG", progressive=progressive))
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 10_000, 20_000)
    assert reason_of(bytes(data)) == "image of 20,000 x 10,000 pixels is larger than 100,000,000 pixels"


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no.png", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UnreadableImageError) as error:
            read_file(path)
        assert error.value.render() == (
            f"error: {path}: {reason}\n"
            "hint: download or export the file again, or data.unreadable=skip to leave it out"
        )


def noise(height: int, width: int) -> Grey:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [16, 64])
def test_every_shape_becomes_the_square(fit: Fit, size: int) -> None:
    for shape in (*SHAPES, (1, 1), (1, 500), (500, 1), (size, size)):
        square = prepare(noise(*shape), Preprocess(size, fit))
        assert square.shape == (size, size)
        assert square.dtype == np.uint8


@pytest.mark.parametrize("fit", FITS)
def test_a_picture_of_the_right_size_is_not_touched(fit: Fit) -> None:
    np.testing.assert_array_equal(prepare(noise(48, 48), Preprocess(48, fit)), noise(48, 48))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("fit", FITS)
def test_shrinking_by_a_whole_factor_takes_block_means(factor: int, fit: Fit) -> None:
    grey = noise(32 * factor, 32 * factor)
    means = grey.reshape(32, factor, 32, factor).mean(axis=(1, 3))
    assert np.abs(prepare(grey, Preprocess(32, fit)) - means).max() <= 0.5


def test_pad_keeps_the_proportions_and_centres_between_black() -> None:
    for grey, upright in ((noise(128, 64), False), (noise(64, 128).T, False), (noise(64, 128), True)):
        square = prepare(np.ascontiguousarray(grey), Preprocess(64, "pad"))
        square, grey = (square.T, grey.T) if upright else (square, grey)
        assert not square[:, :16].any()
        assert not square[:, 48:].any()
        assert np.abs(square[:, 16:48] - grey.reshape(64, 2, 32, 2).mean(axis=(1, 3))).max() <= 0.5


def test_crop_takes_the_square_in_the_middle() -> None:
    for grey in (noise(64, 100), np.ascontiguousarray(noise(64, 100).T)):
        tall = grey.shape[0] == 100
        expected = grey[18:82] if tall else grey[:, 18:82]
        np.testing.assert_array_equal(prepare(grey, Preprocess(64, "crop")), expected)


def test_squash_fills_the_square_and_takes_means_of_the_side_that_shrinks() -> None:
    stripes = np.tile(np.array([[0], [255]], np.uint8), (512, 100))
    square = prepare(stripes, Preprocess(256, "squash"))
    assert np.abs(square - 127.5).max() <= 0.5


def dot(height: int, width: int, row: int, column: int) -> Grey:
    """A bright blurred dot, wide enough to outlast a resampling."""
    rows, columns = np.mgrid[:height, :width]
    spread = max(height, width) / 20
    distance: npt.NDArray[np.float64] = (rows - row) ** 2 + (columns - column) ** 2
    return np.asarray(np.rint(255 * np.exp(-distance / (2 * spread**2))), np.uint8)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(240, 160), (160, 240), (200, 200), (40, 24)])
def test_undo_fit_lays_a_dot_back_onto_itself(fit: Fit, shape: tuple[int, int]) -> None:
    for share_down, share_across in ((0.5, 0.5), (0.35, 0.6), (0.6, 0.4)):
        picture = dot(*shape, round(shape[0] * share_down), round(shape[1] * share_across))
        square = prepare(picture, Preprocess(64, fit)).astype(np.float32)
        back = undo_fit(square, shape, fit)
        assert back.shape == shape
        np.testing.assert_allclose(centre(back), centre(picture), atol=0.01 * max(shape))


def centre(picture: npt.NDArray[np.float32] | Grey) -> tuple[float, float]:
    """Row and column of the mean of the brightness."""
    weight = picture.astype(np.float64)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return float((rows * weight).sum() / weight.sum()), float((columns * weight).sum() / weight.sum())


def test_undo_fit_of_a_crop_is_zero_where_nothing_was_seen() -> None:
    back = undo_fit(np.ones((7, 7), np.float32), (30, 50), "crop")
    assert (back[:, 10:40] == 1).all()
    assert not back[:, :10].any()
    assert not back[:, 40:].any()


@pytest.mark.parametrize("edge", [0, 255])
def test_uniform_borders_are_cropped_and_maps_laid_back(edge: int) -> None:
    framed = np.pad(noise(60, 50), ((9, 4), (0, 21)), constant_values=edge)
    how = Preprocess(32, "squash", borders="crop")
    np.testing.assert_array_equal(prepare(framed, how), prepare(noise(60, 50), Preprocess(32, "squash")))
    laid = undo_prepare(np.ones((7, 7), np.float32), framed, how) > 0
    assert laid[9:69, :50].all()
    assert laid.sum() == 60 * 50


def test_a_dark_picture_is_not_cropped_away() -> None:
    for grey in (np.zeros((40, 30), np.uint8), np.pad(noise(8, 8), 30)):
        kept = prepare(grey, Preprocess(32, borders="crop"))
        np.testing.assert_array_equal(kept, prepare(grey, Preprocess(32)))


@pytest.mark.real
def test_nih_files_with_alpha_have_the_luminance_of_pillow(sample_data: Path) -> None:
    with_alpha = 0
    for path in sorted((sample_data / "nih-1024").glob("images_*/images/*.png")):
        with Image.open(path) as picture:
            if picture.mode == "RGBA":
                with_alpha += 1
                np.testing.assert_array_equal(read_file(path), luminance(picture))
    assert with_alpha == 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_dark_margin_says_nothing_of_the_depth(kind: str) -> None:
    deep = np.zeros((40, 40), np.uint16)
    deep[:, 8:] = np.linspace(0, 4095, 32).astype(np.uint16)
    expected = np.rint(deep * (255 / 4095))
    np.testing.assert_array_equal(decode(encode(Image.fromarray(deep), kind), "x"), expected)


def packed_rows(values: Grey, depth: int) -> bytes:
    """Rows of a PNG without filter, in `depth` bits a value."""
    bits = ((values[..., None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(len(values), -1)
    return b"".join(b"\0" + row.tobytes() for row in np.packbits(bits, axis=1))


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("colour", [0, 3])
@pytest.mark.parametrize("is_clear", [False, True])
def test_pngs_of_few_bits_span_black_to_white_and_transparency_changes_nothing(
    depth: int, colour: int, is_clear: bool
) -> None:
    values = np.asarray(SMOOTH >> (8 - depth), np.uint8)
    levels = np.rint(np.linspace(0, 255, 2**depth)).astype(np.uint8)
    header = struct.pack(">IIBBBBB", *SMOOTH.shape[::-1], depth, colour, 0, 0, 0)
    extra = [(b"PLTE", np.repeat(levels, 3).tobytes())] if colour else []
    extra += [(b"tRNS", b"\0\0")] if is_clear else []
    png = join(
        [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(packed_rows(values, depth))), (b"IEND", b"")]
    )
    np.testing.assert_array_equal(decode(png, "x"), levels[values])


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (4, 2), (2, 3), (6, 4)])
def test_pngs_of_16_bits_have_the_luminance_of_their_colours(colour: int, channels: int) -> None:
    pixels = (
        np.dstack([SMOOTH, SMOOTH if channels < 3 else SMOOTH // 2, 255 - SMOOTH, SMOOTH]).astype(np.uint16)
        * 257
    )
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels[..., :channels])
    header = struct.pack(">IIBBBBB", *SMOOTH.shape[::-1], 16, colour, 0, 0, 0)
    expected = SMOOTH if channels < 3 else pixels[..., :3] @ [0.299, 0.587, 0.114] / 257
    png = join([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
    assert np.abs(decode(png, "x") - expected).max() <= 1
