"""Pixels of a JPEG, JPEG-LS or JPEG 2000 stream in a DICOM file, by pydicom's plugins or GDCM in a child.

The order is important: 1. the stream's end and size, 2. memory, 3. damage, 4. colours, 5. the decoder, 6.
which bits of the decoded words are the sample.
"""

import warnings

import cv2
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from cxr.images.decoder_messages import capture_messages, find_damage_in
from cxr.images.dicom.child import decode_in_child
from cxr.images.dicom.errors import RefusedError, no_decoder
from cxr.images.dicom.j2k_header import J2kHeader, read_j2k_header
from cxr.images.dicom.layout import Layout, StoredPixels, reserve_decoding
from cxr.images.jpeg_header import JpegFrame, read_jpeg_frame
from cxr.images.limits import explain_excess, explain_truncation

# in this order; GDCM is no choice where another reads: it ends the whole process on damaged bytes
_PLUGINS = ("pyjpegls", "pylibjpeg", "pillow")
_GDCM = "gdcm"
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_JFIF_MARKER, _ADOBE_MARKER = b"\xff\xe0", b"\xff\xee"
_ADOBE_RGB = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"  # a marker that says that no colours are converted
# transfer syntaxes: how those of JPEG 2000 and HTJ2K begin, of JPEG-LS, and JPEG Extended
_J2K = ("1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20")
_JPEG_LS = "1.2.840.10008.1.2.4.8"
_EXTENDED = "1.2.840.10008.1.2.4.51"


def read_compressed(syntax: UID, layout: Layout, stream: bytes, file_bytes: int) -> StoredPixels:
    """Pixels of a stream that ends, has the header's size and is not damaged.

    Raises:
        RefusedError: It does not end, has another size, is damaged, or takes too much memory.
        CxrError: The child process of GDCM could not run.
    """
    is_j2k = syntax.startswith(_J2K)

    # 1. the end and the size
    if stream.rfind(_END) <= stream.rfind(_SCAN):
        raise RefusedError(explain_truncation(file_bytes))
    header = read_j2k_header(stream) if is_j2k else read_jpeg_frame(stream)
    expected = layout.width, layout.height, layout.channels
    if header is None or (header.width, header.height, header.channels) != expected:
        raise RefusedError(
            "DICOM file is corrupt: its compressed pixels are torn, or have another size than its header says"
        )
    if isinstance(header, J2kHeader) and header.is_bomb:
        raise RefusedError(
            "DICOM file is corrupt: its pixels are cut into more parts than there is memory for"
        )

    # 2. memory: OpenJPEG decodes into 4 bytes a sample, Pillow into 4 bytes a pixel; then come the bytes and
    # the array (measured)
    bytes_per_sample = 4 + layout.bits // 8 if is_j2k else max(3, layout.bits // 4)
    reserve_decoding(layout, file_bytes, bytes_per_sample)

    # 3. and 4. damage and colours of 8-bit JPEG; libjpeg tells RGB by these ids, pydicom does not
    if isinstance(header, JpegFrame) and header.precision == 8:
        _check_jpeg(stream)
        if header.ids == b"RGB" and not _has_colour_marker(stream):
            stream = stream[:2] + _ADOBE_RGB + stream[2:]
            layout = layout._replace(photometric="RGB")

    # 5. decode; in a stream the colours of a pixel are together, whatever PlanarConfiguration says
    plugin = _choose_plugin(get_decoder(syntax).available_plugins, syntax, header.precision)
    has_whole_words = header.precision > layout.stored  # whole words were compressed, not samples
    decoder_layout = layout._replace(planar=0)
    if plugin == _GDCM:
        _check_memory_of_child(layout, file_bytes)
        if has_whole_words:  # GDCM would cut off the highest bits, where the samples may be
            decoder_layout = decoder_layout._replace(stored=min(header.precision, layout.bits))
    stored = _decode(syntax, decoder_layout, stream, plugin)

    # 6. the sample in its word; for JPEG-LS and JPEG 2000 pydicom gives samples with their sign, unless whole
    # words were compressed without loss
    if is_j2k or syntax.startswith(_JPEG_LS):
        is_lossless = "Lossless" in syntax.name and "Lossy" not in syntax.name
        return stored.cut(layout, layout.high) if has_whole_words and is_lossless else stored
    return stored.cut(layout, layout.high if has_whole_words else layout.stored - 1)


def _check_memory_of_child(layout: Layout, file_bytes: int) -> None:
    """Refuse what takes too much in both processes: 36 million pixels of 16 bits take 0.82 GB (measured)."""
    num_pixels = layout.width * layout.height
    word_bytes = num_pixels * layout.channels * layout.bits // 8
    num_bytes = 6 * file_bytes + 6 * word_bytes + num_pixels
    excess = explain_excess(layout.width, layout.height, num_bytes)
    if excess:
        raise RefusedError(excess)


def _choose_plugin(available: tuple[str, ...], syntax: str, precision: int) -> str:
    if precision > 8 and syntax == _EXTENDED:  # Pillow counts as a reader of it, and reads 8 bits only
        available = tuple(plugin for plugin in available if plugin != "pillow")
        if not available:
            raise no_decoder(f"JPEG Extended of {precision} bits")
    return next((plugin for plugin in _PLUGINS if plugin in available), _GDCM)


def _check_jpeg(stream: bytes) -> None:
    """Refuse a JPEG whose damage OpenCV's decoder reports: those that pydicom uses report none."""
    with capture_messages() as messages:
        try:
            cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
        except cv2.error:
            return  # a kind of JPEG that it does not read
    damage = find_damage_in(messages)
    if damage:
        raise RefusedError(f"DICOM file is corrupt: the decoder of its pixels reports: {damage}")


def _decode(syntax: UID, layout: Layout, stream: bytes, plugin: str) -> StoredPixels:
    options = layout.as_pydicom_options()
    if plugin == _GDCM:
        words, photometric = decode_in_child(stream, str(syntax), options)
        return StoredPixels(words, photometric)
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # of large images, whose size was checked
    words, facts = get_decoder(syntax).as_array(
        encapsulate([stream]), index=0, validate=False, raw=True, decoding_plugin=plugin, **options
    )
    if plugin == "pillow" and _is_converted_by_pillow(stream):  # pydicom would convert its colours again
        return StoredPixels(words, "RGB")
    return StoredPixels(words, str(facts["photometric_interpretation"]))


def _has_colour_marker(stream: bytes) -> bool:
    """Whether JFIF's or Adobe's marker says which colours a JPEG has."""
    head = stream[: stream.find(_SCAN)]
    return _JFIF_MARKER in head or _ADOBE_MARKER in head


def _is_converted_by_pillow(stream: bytes) -> bool:
    """Whether Adobe's marker says that the colours of a JPEG are YBR, which Pillow then converts to RGB."""
    at = stream.find(_ADOBE_MARKER, 0, stream.find(_SCAN))
    if at <= 0:
        return False
    # marker and length, 4 bytes; the name, 5; a version and flags, 6; the transform, 1
    return stream[at + 4 : at + 9] == b"Adobe" and stream[at + 15 : at + 16] == b"\1"
