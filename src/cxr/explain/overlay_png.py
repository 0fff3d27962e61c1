"""The PNG files of overlays, which carry a mark (no torch)."""

import struct
import zlib

import cv2

from cxr.explain.lettering import Colour
from cxr.images.kinds import OVERLAY

_END_OF_IHDR = 33  # bytes of a PNG: 8 of signature, 25 of the first chunk, which holds width and height


def encode_png(image: Colour, mark: str = "") -> bytes:
    """PNG bytes with a chunk that marks them as an overlay of cxr; the chunk holds `mark`, which is ASCII."""
    is_encoded, data = cv2.imencode(".png", image)
    assert is_encoded
    png = data.tobytes()
    # A chunk is its length without the four letters of its type, then type and content, then their checksum.
    content = OVERLAY + mark.encode("ascii")  # OVERLAY begins with the type
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:_END_OF_IHDR] + chunk + png[_END_OF_IHDR:]
