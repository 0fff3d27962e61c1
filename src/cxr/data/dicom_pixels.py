"""The stored values of a DICOM image, in every transfer syntax; sizes are checked before anything is decoded."""

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from cxr.data.damage import find_excess, truncated
from cxr.data.decoder_messages import find_damage_in, listen
from cxr.data.dicom_child import decode_apart
from cxr.data.dicom_streams import read_j2k_header, read_rle
from cxr.data.jpeg_header import read_jpeg_frame
from cxr.data.large_images import take_room

if TYPE_CHECKING:
    from pydicom import FileDataset
    from pydicom.uid import UID

# in this order; GDCM is no choice where another reads: it ends the whole process on damaged bytes
_PLUGINS = ("pyjpegls", "pylibjpeg", "pillow")
_END, _SCAN = b"\xff\xd9", b"\xff\xda"
_J2K, _JPIP = "1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20"  # how their identifiers begin, HTJ2K among the second
_RLE, _EXTENDED = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.51"


class Refused(Exception):
    """Why a file is not read; becomes an UnreadableImageError with the file's name."""


class Layout(NamedTuple):
    """How a header says that pixels are stored; `high` is the place of a sample's highest bit."""

    width: int
    height: int
    channels: int
    bits: int
    stored: int
    high: int
    signed: bool
    planar: int
    photometric: str

    @property
    def num_bytes(self) -> int:
        """Bytes of the pixels without compression."""
        size = self.width * self.height * self.channels * self.bits // 8
        return size * 2 // 3 if self.photometric == "YBR_FULL_422" else size

    def options(self) -> dict[str, Any]:
        """As pydicom's decoders want them; samples are cut out of their words here, not there."""
        return {
            "rows": self.height, "columns": self.width, "samples_per_pixel": self.channels, "number_of_frames": 1,
            "bits_allocated": self.bits, "bits_stored": self.stored, "pixel_representation": int(self.signed),
            "planar_configuration": self.planar, "photometric_interpretation": self.photometric,
            "pixel_keyword": "PixelData", "correct_unused_bits": False,
        }  # fmt: skip


class Stored(NamedTuple):
    """Words [H, W] or [H, W, 3], perhaps of the file itself; `rows` cuts the samples out of them.

    A sample lies below `left` bits that belong to something else, and has `right` bits less than a word.
    """

    words: npt.NDArray[Any]
    photometric: str
    left: int = 0
    right: int = 0

    def rows(self, rows: slice) -> npt.NDArray[Any]:
        """Samples of some rows, with their sign."""
        words = self.words[rows]
        return np.asarray((words << self.left) >> self.right) if self.left or self.right else words


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
    from pydicom.encaps import get_frame

    stream = get_frame(bytes(content), 0, number_of_frames=1)
    if syntax == _RLE:
        _take_room(layout, len(data), layout.bits // 8)
        return _cut(Stored(read_rle(stream, layout), layout.photometric), layout, layout.high)
    return _read_stream(syntax, layout, stream, data)


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
    return Refused(f"DICOM pixels in {named}, which no installed decoder reads; pip install 'cxr[dicom]' adds some")


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


def _read_native(syntax: "UID", layout: Layout, content: bytes | memoryview, vr: str | None, data: bytes) -> Stored:
    from pydicom.pixels.decoders.base import get_decoder

    if layout.photometric == "YBR_FULL_422" and len(content) >= layout.num_bytes * 3 // 2:
        layout = layout._replace(photometric="YBR_FULL")  # it has every pixel's colour, whatever its name says
    if len(content) < layout.num_bytes:
        raise Refused(truncated(data))
    if len(content) >= max(2 * layout.num_bytes, layout.num_bytes + 16):  # more than padding
        frames = len(content) // layout.num_bytes
        raise Refused(f"DICOM file of {frames:,} frames: one image a file is read; export the frame by itself")
    _take_room(layout, len(data), 0)
    options = layout.options() | {"pixel_vr": vr or "OW", "view_only": True}
    words, facts = get_decoder(syntax).as_array(content, index=0, validate=False, raw=True, **options)
    return _cut(Stored(words, str(facts["photometric_interpretation"])), layout, layout.high)


def _read_stream(syntax: "UID", layout: Layout, stream: bytes, data: bytes) -> Stored:
    """Pixels of a JPEG, JPEG-LS or JPEG 2000 stream."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels.decoders.base import get_decoder

    j2k = syntax.startswith((_J2K, _JPIP))
    if stream.rfind(_END) <= stream.rfind(_SCAN):
        raise Refused(truncated(data))
    header = read_j2k_header(stream) if j2k else read_jpeg_frame(stream)
    if header is None or (header.width, header.height, header.channels) != layout[:3]:
        raise Refused("DICOM file is corrupt: its compressed pixels have another size than its header says")
    # OpenJPEG decodes into 4 bytes a sample, Pillow into 4 bytes a pixel; then come the bytes and the array (measured)
    _take_room(layout, len(data), 4 + layout.bits // 8 if j2k else max(3, layout.bits // 4))
    decoder = get_decoder(syntax)
    plugin = next((one for one in _PLUGINS if one in decoder.available_plugins), "gdcm")
    if plugin == "pillow" and not j2k:
        plugin = _check_jpeg(stream, header.precision, decoder.available_plugins)
    if plugin == "gdcm":
        words, photometric = decode_apart(stream, str(syntax), layout.options())
    else:
        content = encapsulate([stream])
        words, facts = decoder.as_array(
            content, index=0, validate=False, raw=True, decoding_plugin=plugin,
            **layout.options()
        )  # fmt: skip
        photometric = str(facts["photometric_interpretation"])
    stored = Stored(words, photometric)
    whole_words = header.precision > layout.stored
    if plugin in ("pyjpegls", "pylibjpeg") or j2k:  # these give samples with their sign
        return _cut(stored, layout, layout.high) if whole_words and _is_lossless(syntax) else stored
    return _cut(stored, layout, layout.high if whole_words else layout.stored - 1)


def _is_lossless(syntax: "UID") -> bool:
    return "Lossless" in syntax.name or syntax.name.startswith("JPEG Lossless")


def _check_jpeg(stream: bytes, precision: int, plugins: tuple[str, ...]) -> str:
    """Which decoder reads a JPEG stream: Pillow, or GDCM where samples have more than 8 bits.

    Pillow says nothing of damage, so OpenCV's decoder is listened to.
    """
    if precision > 8:
        if "gdcm" not in plugins:
            raise _lacking(f"JPEG Extended of {precision} bits")
        return "gdcm"
    warnings.filterwarnings("ignore", module=r"PIL(\.|$)")  # of large images, whose size was checked
    with listen() as messages:
        cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_GRAYSCALE)
    problem = find_damage_in(messages)
    if problem:
        raise Refused(f"DICOM file is corrupt: the decoder of its pixels reports: {problem}")
    return "pillow"
