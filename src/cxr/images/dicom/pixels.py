"""The stored values of a DICOM image, in every transfer syntax; sizes are checked before anything is decoded."""

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from cxr.images.damage import find_excess, truncated
from cxr.images.decoder_messages import find_damage_in, listen
from cxr.images.dicom.child import decode_apart
from cxr.images.dicom.j2k_header import J2kHeader, read_j2k_header
from cxr.images.dicom.layout import Layout, Refused, Stored
from cxr.images.dicom.rle import read_rle
from cxr.images.jpeg_header import JpegFrame, read_jpeg_frame
from cxr.images.large_images import take_room

if TYPE_CHECKING:
    from pydicom import FileDataset
    from pydicom.uid import UID

# in this order; GDCM is no choice where another reads: it ends the whole process on damaged bytes
_PLUGINS = ("pyjpegls", "pylibjpeg", "pillow")
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_ADOBE_RGB = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"  # the marker that says that no colours are converted
_J2K = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")  # how identifiers begin, HTJ2K with the second
_JPEG_LS = "1.2.840.10008.1.2.4.8"
_RLE, _EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"


def read_pixels(dataset: "FileDataset", layout: Layout, data: bytes) -> Stored:
    """The stored pixels.

    Raises:
        Refused: Too few bytes, damaged streams, another size than the header's, a compression that nothing here reads.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    _check_syntax(syntax)
    element: Any = dataset.get_item("PixelData", keep_deferred=True)
    left_in_file = element.value is None  # so that large pixels are not copied
    content = memoryview(data)[element.value_tell :][: element.length] if left_in_file else element.value
    if not syntax.is_encapsulated:
        return _read_native(syntax, layout, content, element.VR, data)
    stream = _join_fragments(bytes(content), syntax == _RLE)
    if syntax == _RLE:
        _take_room(layout, len(data), layout.bits // 8)
        return _cut(Stored(read_rle(stream, layout), layout.photometric), layout, layout.high)
    return _read_stream(syntax, layout, stream, data)


def _join_fragments(content: bytes, is_rle: bool) -> bytes:
    """The one frame of encapsulated pixels, in one fragment or several; further tables of offsets are not asked."""
    from pydicom.encaps import generate_fragments, parse_basic_offsets

    buffer = BytesIO(content)
    offsets = parse_basic_offsets(buffer)
    fragments = list(generate_fragments(buffer))
    starts = (
        (fragments[0][:4],) if is_rle and fragments else (b"\xff\xd8", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
    )
    frames = max(len(offsets), sum(fragment.startswith(starts) for fragment in fragments))
    if frames > 1:
        raise _several(frames)
    return b"".join(fragments)


def _several(frames: int) -> Refused:
    return Refused(f"DICOM file of {frames:,} frames: one image a file is read; export the frame by itself")


def _check_syntax(syntax: "UID") -> None:
    from pydicom._uid_dict import UID_dictionary
    from pydicom.pixels.decoders.base import get_decoder

    try:
        readable = get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise _lacking(UID_dictionary.get(str(syntax), ("a private transfer syntax",))[0])


def _lacking(named: str) -> Refused:
    return Refused(
        f"DICOM pixels in {named}, which no installed decoder reads; pip install 'cxr[dicom]' adds some"
    )


def _take_room(layout: Layout, num_bytes: int, per_sample: int) -> None:
    """Wait for the memory that decoding takes, a byte for each pixel's result included; refuse what takes too much."""
    num_bytes += layout.width * layout.height * (layout.channels * per_sample + 1)
    excess = find_excess(layout.width, layout.height, num_bytes)
    if excess:
        raise Refused(excess)
    take_room(num_bytes)


def _cut(stored: Stored, layout: Layout, high: int) -> Stored:
    """With the shifts that cut samples of `layout.stored` bits, the highest at `high`, out of words."""
    left, right = layout.bits - 1 - high, layout.bits - layout.stored
    return stored._replace(left=left, right=right)


def _read_native(
    syntax: "UID", layout: Layout, content: bytes | memoryview, vr: str | None, data: bytes
) -> Stored:
    from pydicom.pixels.decoders.base import get_decoder

    if layout.photometric == "YBR_FULL_422" and len(content) >= layout.num_bytes * 3 // 2:
        layout = layout._replace(
            photometric="YBR_FULL"
        )  # it has every pixel's colour, whatever its name says
    if len(content) < layout.num_bytes:
        raise Refused(truncated(data))
    if len(content) >= max(2 * layout.num_bytes, layout.num_bytes + 16):  # more than padding
        raise _several(len(content) // layout.num_bytes)
    _take_room(layout, len(data), 0)
    options = layout.options() | {"pixel_vr": vr or "OW", "view_only": True}
    words, facts = get_decoder(syntax).as_array(content, index=0, validate=False, raw=True, **options)
    return _cut(Stored(words, str(facts["photometric_interpretation"])), layout, layout.high)


def _read_stream(syntax: "UID", layout: Layout, stream: bytes, data: bytes) -> Stored:
    """Pixels of a JPEG, JPEG-LS or JPEG 2000 stream."""
    from pydicom.pixels.decoders.base import get_decoder

    is_j2k = syntax.startswith(_J2K)
    if stream.rfind(_END) <= stream.rfind(_SCAN):
        raise Refused(truncated(data))
    header = read_j2k_header(stream) if is_j2k else read_jpeg_frame(stream)
    if header is None or (header.width, header.height, header.channels) != layout[:3]:
        raise Refused(
            "DICOM file is corrupt: its compressed pixels are torn, or have another size than its header says"
        )
    if isinstance(header, J2kHeader) and header.is_bomb:
        raise Refused("DICOM file is corrupt: its pixels are cut into more parts than there is memory for")
    # OpenJPEG decodes into 4 bytes a sample, Pillow into 4 bytes a pixel; then come the bytes and the array (measured)
    _take_room(layout, len(data), 4 + layout.bits // 8 if is_j2k else max(3, layout.bits // 4))
    if isinstance(header, JpegFrame) and header.precision == 8:
        _check_jpeg(stream)
        if header.ids == b"RGB" and not _has_colour_marker(stream):  # libjpeg goes by these, pydicom does not
            stream, layout = stream[:2] + _ADOBE_RGB + stream[2:], layout._replace(photometric="RGB")
    plugin = _choose_plugin(get_decoder(syntax).available_plugins, syntax, header.precision)
    if plugin == "gdcm":
        _check_room_of_child(layout, len(data))
    # in a stream the colours of a pixel are together, whatever PlanarConfiguration says; RLE is read elsewhere
    has_words = header.precision > layout.stored  # whole words were compressed, not samples
    told = layout._replace(planar=0)
    if plugin == "gdcm" and has_words:  # it would cut off the highest bits, where the samples may be
        told = told._replace(stored=min(header.precision, layout.bits))
    stored = _decode(syntax, told, stream, plugin)
    if is_j2k or syntax.startswith(_JPEG_LS):  # pydicom gives samples with their sign
        is_lossless = "Lossless" in syntax.name and "Lossy" not in syntax.name
        return _cut(stored, layout, layout.high) if has_words and is_lossless else stored
    return _cut(stored, layout, layout.high if has_words else layout.stored - 1)


def _check_room_of_child(layout: Layout, num_bytes: int) -> None:
    """Refuse what takes too much in both processes: 0.82 GB for 36 million pixels of 16 bits in 58 MB (measured)."""
    words = layout.width * layout.height * layout.channels * layout.bits // 8
    excess = find_excess(
        layout.width, layout.height, 6 * num_bytes + 6 * words + layout.width * layout.height
    )
    if excess:
        raise Refused(excess)


def _choose_plugin(plugins: tuple[str, ...], syntax: str, precision: int) -> str:
    if precision > 8 and syntax == _EXTENDED:  # Pillow counts as a reader of it, and reads 8 bits only
        plugins = tuple(one for one in plugins if one != "pillow")
        if not plugins:
            raise _lacking(f"JPEG Extended of {precision} bits")
    return next((one for one in _PLUGINS if one in plugins), "gdcm")


def _check_jpeg(stream: bytes) -> None:
    """Listen to OpenCV's decoder: those that pydicom uses say nothing of damage."""
    with listen() as messages:
        try:
            cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
        except cv2.error:
            return  # a kind of JPEG that it does not read
    problem = find_damage_in(messages)
    if problem:
        raise Refused(f"DICOM file is corrupt: the decoder of its pixels reports: {problem}")


def _decode(syntax: "UID", layout: Layout, stream: bytes, plugin: str) -> Stored:
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    if plugin == "gdcm":
        return Stored(*decode_apart(stream, str(syntax), layout.options()))
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # of large images, whose size was checked
    content, options = encapsulate([stream]), layout.options()
    words, facts = get_decoder(syntax).as_array(
        content, index=0, validate=False, raw=True, decoding_plugin=plugin, **options
    )
    photometric = str(facts["photometric_interpretation"])
    return Stored(words, "RGB" if plugin == "pillow" and _is_made_rgb(stream) else photometric)


def _has_colour_marker(stream: bytes) -> bool:
    """Whether JFIF's or Adobe's marker says which colours a JPEG has."""
    start = stream[: stream.find(_SCAN)]
    return b"\xff\xe0" in start or b"\xff\xee" in start


def _is_made_rgb(stream: bytes) -> bool:
    """Whether Pillow converts a JPEG's colours: with Adobe's marker it does, and pydicom would convert them again."""
    marker = stream.find(b"\xff\xee", 0, stream.find(_SCAN))
    return (
        marker > 0
        and stream[marker + 4 : marker + 9] == b"Adobe"
        and stream[marker + 15 : marker + 16] == b"\1"
    )
