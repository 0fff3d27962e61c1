"""The stored values of a DICOM image in every transfer syntax; sizes are checked before decoding."""

from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.encaps import generate_fragments, parse_basic_offsets
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from cxr.images.dicom.compressed import read_compressed
from cxr.images.dicom.errors import RefusedError, no_decoder, several_frames
from cxr.images.dicom.layout import Layout, StoredPixels, reserve_decoding
from cxr.images.dicom.rle import read_rle
from cxr.images.limits import explain_truncation

_MAX_PADDING_BYTES = 16
# how frames begin: JPEG and JPEG-LS, JPEG 2000, JP2
_STREAM_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")


def read_pixels(dataset: Dataset, layout: Layout, data: bytes) -> StoredPixels:
    """The stored pixels; `data` is the file, or of a dataset in memory its pixels alone.

    Raises:
        RefusedError: Too few bytes, damaged streams, another size than the header's, several frames, a
            compression that nothing here reads.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    _check_syntax(syntax)

    # large pixels were left in the file: they are taken from there, without a copy
    element: Any = dataset.get_item("PixelData", keep_deferred=True)
    is_in_file = element.value is None
    content = memoryview(data)[element.value_tell :][: element.length] if is_in_file else element.value

    if not syntax.is_encapsulated:
        return _read_native(syntax, layout, content, element.VR, len(data))
    is_rle = syntax == RLELossless
    stream = _join_fragments(bytes(content), is_rle)
    if not is_rle:
        return read_compressed(syntax, layout, stream, len(data))
    reserve_decoding(layout, len(data), bytes_per_sample=layout.bits // 8)
    return StoredPixels(read_rle(stream, layout), layout.photometric).cut(layout, layout.high)


def _check_syntax(syntax: UID) -> None:
    try:
        is_readable = get_decoder(syntax).is_available
    except NotImplementedError:  # how pydicom reports a transfer syntax that it does not know
        is_readable = False
    if not is_readable:
        raise no_decoder(UID_dictionary.get(str(syntax), ("a private transfer syntax",))[0])


def _join_fragments(content: bytes, is_rle: bool) -> bytes:
    """The frame of encapsulated pixels, in one fragment or several; extended offset tables are not used.

    Raises:
        RefusedError: There are several frames, by the table of offsets or by how fragments begin.
    """
    buffer = BytesIO(content)
    offsets = parse_basic_offsets(buffer)
    fragments = list(generate_fragments(buffer))
    # fragments of one RLE frame differ in their first bytes; those of another frame repeat the number of
    # segments
    starts = (fragments[0][:4],) if is_rle and fragments else _STREAM_STARTS
    num_starts = sum(fragment.startswith(starts) for fragment in fragments)
    num_frames = max(len(offsets), num_starts)
    if num_frames > 1:
        raise several_frames(num_frames)
    return b"".join(fragments)


def _read_native(
    syntax: UID, layout: Layout, content: bytes | memoryview, representation: str | None, file_bytes: int
) -> StoredPixels:
    """Pixels without compression, in the file's memory where their byte order allows it."""
    # a file may say that pixels share their colours and store every pixel's, which its length shows
    if layout.photometric == "YBR_FULL_422" and len(content) >= layout.num_bytes * 3 // 2:
        layout = layout._replace(photometric="YBR_FULL")
    if len(content) < layout.num_bytes:
        raise RefusedError(explain_truncation(file_bytes))
    if len(content) >= max(2 * layout.num_bytes, layout.num_bytes + _MAX_PADDING_BYTES):
        raise several_frames(len(content) // layout.num_bytes)
    reserve_decoding(layout, file_bytes, bytes_per_sample=0)
    options = layout.as_pydicom_options() | {"pixel_vr": representation or "OW", "view_only": True}
    words, facts = get_decoder(syntax).as_array(content, index=0, validate=False, raw=True, **options)
    return StoredPixels(words, str(facts["photometric_interpretation"])).cut(layout, layout.high)
