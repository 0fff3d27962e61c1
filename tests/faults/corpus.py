"""Hostile and odd image files by the hundred, made at test time; what each is and whether it can be read."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image

from tests.helpers.dicoms import compressed, encapsulate_jpeg, make_dicom, to_bytes

Pixels = npt.NDArray[np.uint8]
NUM_CUTS, NUM_FLIPS = 50, 12


@dataclass(frozen=True)
class Case:
    """One file of the corpus.

    Attributes:
        path: Below the corpus's folder.
        readable: Whether it is a whole image; None where either answer is right (a flipped bit inside a JPEG's pixels).
    """

    path: str
    readable: bool | None


def make(folder: Path, seed: int = 0) -> list[Case]:
    """Write the corpus; at least 300 files."""
    draws = np.random.default_rng(seed)
    pixels = picture(draws)
    whole = encodings(pixels)
    cases = [_write(folder, f"whole/{name}", data, True) for name, data in whole.items()]
    for name in ("grey.png", "grey.jpg", "deflate.tiff", "plain.dcm", "rle.dcm"):
        cases += _cuts(folder, name, whole[name])
        cases += _flips(folder, name, whole[name], draws)
    cases += [_write(folder, f"bombs/{name}", data, False) for name, data in _bombs().items()]
    cases.append(_write(folder, "bombs/floods_text.png", _text_flood(whole["grey.png"]), None))
    cases += [_write(folder, f"false/{name}", data, False) for name, data in _impostors().items()]
    cases += [_write(folder, f"names/{name}", whole[kind], True) for name, kind in _names().items()]
    cases += list(_links(folder, whole["grey.png"]))
    return cases


def picture(draws: np.random.Generator) -> Pixels:
    """Something smooth with edges, 40 x 56, so that every encoder has work to do and no side is like another."""
    y, x = np.mgrid[0:40, 0:56]
    picture = 110 + 60 * np.sin(x / 9) + 40 * np.cos(y / 7) + draws.normal(size=x.shape)
    picture[10:20, 30:45] += 30
    return np.asarray(picture.clip(0, 255), np.uint8)


def encodings(grey: Pixels) -> dict[str, bytes]:
    """The picture in every format that is read, by file name."""
    deep = grey.astype(np.uint16) * 257
    colour = cv2.merge([grey, grey // 2, 255 - grey])
    one, image = cv2.imencode, Image.fromarray(grey)
    made = {
        "grey.png": one(".png", grey)[1].tobytes(),
        "grey16.png": one(".png", deep)[1].tobytes(),
        "rgb.png": one(".png", colour)[1].tobytes(),
        "rgb16.png": one(".png", colour.astype(np.uint16) * 257)[1].tobytes(),
        "rgba.png": one(".png", cv2.cvtColor(colour, cv2.COLOR_BGR2BGRA))[1].tobytes(),
        "grey.jpg": one(".jpg", grey)[1].tobytes(),
        "rgb.jpg": one(".jpg", colour)[1].tobytes(),
        "progressive.jpg": one(".jpg", grey, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
        "one_bit.png": _pillow(image.convert("1"), "PNG"),
        "grey_alpha.png": _pillow(image.convert("LA"), "PNG"),
        "palette.png": _pillow(image.convert("P"), "PNG"),
        "interlaced.png": _interlaced(grey),
        "cmyk.jpg": _pillow(image.convert("CMYK"), "JPEG"),
        "raw.tiff": _pillow(image, "TIFF"),
        "deflate.tiff": _pillow(image, "TIFF", compression="tiff_deflate"),
        "lzw.tiff": _pillow(image, "TIFF", compression="tiff_lzw"),
        "rgb.tiff": _pillow(image.convert("RGB"), "TIFF"),
        "deep.tiff": _pillow(Image.fromarray(deep), "TIFF"),
    }
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made[f"turned{orientation}.jpg"] = _pillow(image, "JPEG", exif=exif)
    return made | dicoms(grey)


def dicoms(grey: Pixels) -> dict[str, bytes]:
    """The picture as DICOM in several transfer syntaxes and depths."""
    from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

    plain = make_dicom(grey)
    made = {
        "plain.dcm": to_bytes(plain),
        "inverted.dcm": to_bytes(make_dicom(255 - grey, PhotometricInterpretation="MONOCHROME1")),
    }
    made["deep.dcm"] = to_bytes(make_dicom(grey.astype(np.uint16) * 16, bits=12))
    for name, syntax in (("rle", RLELossless), ("j2k", JPEG2000Lossless), ("jls", JPEGLSLossless)):
        packed = make_dicom(grey)
        packed.compress(syntax, generate_instance_uid=False)
        made[f"{name}.dcm"] = to_bytes(packed)
    colour = np.dstack([grey, grey // 2, 255 - grey])
    made["deflated.dcm"] = to_bytes(make_dicom(grey, syntax="1.2.840.10008.1.2.1.99"))
    made["jpeg.dcm"] = to_bytes(encapsulate_jpeg(colour, PhotometricInterpretation="YBR_FULL_422"))
    made["colour.dcm"] = to_bytes(compressed(make_dicom(colour, 8), RLELossless))
    return made


def _pillow(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _interlaced(grey: Pixels) -> bytes:
    """An Adam7 PNG, which neither of the encoders at hand writes."""
    rows = []
    for top, left, down, right in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
                                   (1, 0, 2, 1)):  # fmt: skip
        rows += [b"\0" + line.tobytes() for line in grey[top::down, left::right] if len(line)]
    height, width = grey.shape
    return _png(struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1), zlib.compress(b"".join(rows)))


def _png(header: bytes, compressed: bytes) -> bytes:
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", compressed) + part(b"IEND", b"")


def _cuts(folder: Path, name: str, data: bytes) -> list[Case]:
    ends = np.linspace(0, len(data) - 1, NUM_CUTS).astype(int)
    padded = name.endswith(("tiff", "rle.dcm"))  # their last byte is no pixel's
    whole = [None if padded and end == len(data) - 1 else False for end in ends]
    return [
        _write(folder, f"cut/{end:05d}_{name}", data[:end], seen)
        for end, seen in zip(ends, whole, strict=True)
    ]


def _flips(folder: Path, name: str, data: bytes, draws: np.random.Generator) -> list[Case]:
    cases = []
    for place in draws.integers(len(data), size=NUM_FLIPS):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(draws.integers(8))
        seen = (
            False if name.endswith("png") else None
        )  # every byte of a PNG is signature, length or under a checksum
        cases.append(_write(folder, f"flip/{place:05d}_{name}", bytes(flipped), seen))
    return cases


def _bombs() -> dict[str, bytes]:
    """Small files that would fill the memory: by the size they claim, by what they inflate to, or both."""

    def header(width: int, height: int, depth: int = 8) -> bytes:
        return struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)

    zeros = zlib.compress(bytes(1 << 20))
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes())
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    tiff = bytearray(_pillow(Image.new("L", (8, 8)), "TIFF"))
    for tag in (256, 257):
        place = tiff.index(struct.pack("<H", tag), 8)
        tiff[place + 2 : place + 12] = struct.pack("<HII", 4, 1, 200_000)
    return {
        "claims_much.png": _png(header(2**31 - 1, 2**31 - 1), zeros),
        "claims_wide.png": _png(header(200_000_001, 1), zeros),
        "claims_16_bit.png": _png(header(60_000, 60_000, 16), zeros),
        "no_width.png": _png(header(0, 100), zeros),
        "too_little.png": _png(header(5_000, 5_000), zlib.compress(b"\0")),
        "inflates.png": _png(header(60_000, 60_000), _gigabyte()),
        "claims_much.jpg": bytes(jpeg),
        "claims_much.tiff": bytes(tiff),
        "claims_much.dcm": _claims_much(),
        "hides_size.jpg": bytes(jpeg[:2]) + b"\xff\x01" + bytes(jpeg[2:]),  # behind a marker without length
        "inflates.dcm": _inflates(),
        "runs.dcm": _runs(),
        "tiles.dcm": _tiles(),
    }


def _inflates() -> bytes:
    """A deflated file of 1 GiB whose transfer syntax stands behind 5,000 bytes of something else."""
    plain = to_bytes(make_dicom(np.zeros((8, 8), np.uint8), syntax="1.2.840.10008.1.2.1.99"))
    syntax = plain.index(b"\x02\0\x10\0UI")
    head = (
        plain[:syntax]
        + struct.pack("<HH2sHI", 2, 1, b"OB", 0, 5000)
        + bytes(5000)
        + plain[syntax : syntax + 30]
    )
    return head + _gigabyte()[2:-4]  # without zlib's own header and checksum


def _runs() -> bytes:
    """An RLE frame of 1 GB where the header says 64 pixels, the wrong number of segments in it."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    made = make_dicom(np.zeros((8, 8), np.uint8))
    made.compress(RLELossless, generate_instance_uid=False)
    made.PixelData = encapsulate([struct.pack("<16I", 2, 64, 64, *[0] * 13) + b"\x81\0" * 8_000_000])
    return to_bytes(made)


def _tiles() -> bytes:
    """A JPEG 2000 image of 65,000 tiles of one pixel, for each of which a decoder reserves some kilobytes."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless

    made = make_dicom(np.zeros((64, 64), np.uint8))
    made.compress(JPEG2000Lossless, generate_instance_uid=False)
    stream = bytearray(next(pydicom.encaps.generate_frames(made.PixelData, number_of_frames=1)))
    stream[8:16], stream[24:32] = struct.pack(">II", 250, 260), struct.pack(">II", 1, 1)
    made.Columns, made.Rows, made.PixelData = 250, 260, encapsulate([bytes(stream)])
    return to_bytes(made)


def _claims_much() -> bytes:
    made = make_dicom(np.zeros((8, 8), np.uint8))
    made.Rows = made.Columns = 65_000
    return to_bytes(made)


def _text_flood(png: bytes) -> bytes:
    """The PNG with a comment of 1 GiB, which takes 1 MB."""
    data = b"k\0\0" + _gigabyte()
    comment = struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))
    start = png.index(b"IDAT") - 4
    return png[:start] + comment + png[start:]


@cache
def _gigabyte() -> bytes:
    """1 GiB of zeros as zlib's stream of 1 MB: 64 times the same part, as each ends with a full flush."""
    part = zlib.compressobj(9, wbits=-15)
    data = part.compress(bytes(1 << 24)) + part.flush(zlib.Z_FULL_FLUSH)
    checksum = (1 << 30) % 65_521 << 16 | 1  # Adler-32 of so many zeros
    return b"\x78\xda" + 64 * data + b"\x03\0" + struct.pack(">I", checksum)


def _impostors() -> dict[str, bytes]:
    """No images, or images of kinds that are not read, under names that say otherwise."""
    image = Image.new("L", (8, 8), 90)
    return {
        "empty.png": b"",
        "one_byte.jpg": b"\xff",
        "text.png": b"Patient reports chest pain.\n" * 20,
        "page.jpg": b"<!DOCTYPE html><script>alert(1)</script>",
        "signature.png": b"\x89PNG\r\n\x1a\n",
        "start.jpg": b"\xff\xd8\xff",
        "archive.dcm": b"PK\x03\x04" + bytes(200),
        "preamble.dcm": bytes(128) + b"DICM",
        "zeros.dcm": bytes(4096),
        "gif.png": _pillow(image, "GIF"),
        "bmp.jpg": _pillow(image, "BMP"),
        "webp.png": _pillow(image.convert("RGB"), "WEBP"),
        "pages.tiff": _pillow(image, "TIFF", save_all=True, append_images=[image, image]),
        "noise.png": np.random.default_rng(1).bytes(5000),
    }


def _names() -> dict[str, str]:
    """Whole images under names that break careless code: the kind of each."""
    return {
        "with space.png": "grey.png", "zwei  spaces .png": "grey.png", "röntgen.png": "grey.png",
        "胸部X線.jpg": "grey.jpg", "🫁.png": "grey.png", "comma,quote\".png": "grey.png", "-dash.png": "grey.png",
        "percent%s{}.png": "grey.png", "<script>.png": "grey.png", "[bold]rich[/].png": "grey.png",
        "UPPER.PNG": "grey.png", "a.b.c.jpeg": "grey.jpg", ("x" * 240) + ".png": "grey.png", "$HOME;ls.png": "grey.png",
        "png_as_jpg.jpg": "grey.png", "jpg_as_png.png": "grey.jpg", "dcm_as_png.png": "plain.dcm",
        "tiff_as_jpg.jpg": "raw.tiff", "line\nbreak.png": "grey.png",
    }  # fmt: skip


def _links(folder: Path, data: bytes) -> Iterator[Case]:
    """Links that lead somewhere, nowhere and round in a circle; a pipe and a device, which never end."""
    target = _write(folder, "links/target.png", data, True)
    yield target
    made = {
        "good.png": "target.png",
        "nowhere.png": "gone.png",
        "circle.png": "circle.png",
        "folder.png": ".",
    }
    for name, to in made.items():
        (folder / "links" / name).symlink_to(to)
        yield Case(f"links/{name}", name == "good.png")
    (folder / "links" / "endless.png").symlink_to("/dev/zero")
    yield Case("links/endless.png", False)
    os.mkfifo(folder / "links" / "pipe.png")
    yield Case("links/pipe.png", False)
    secret = _write(folder, "links/locked.png", data, os.geteuid() == 0)  # root reads whatever the mode says
    (folder / secret.path).chmod(0)
    yield secret


def _write(folder: Path, name: str, data: bytes, readable: bool | None) -> Case:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Case(name, readable)
