"""Class activation maps (Zhou et al. 2016), exact for these models, and the PNG files of overlays."""

import struct
import zlib

import cv2
import torch
from torch import Tensor

from cxr.arrays import Float32
from cxr.explain.lettering import Colour
from cxr.images.kinds import OVERLAY
from cxr.model.classifier import Classifier

_END_OF_IHDR = 33  # bytes of a PNG: 8 of signature, 25 of the first chunk, which holds width and height


def activation_maps(classifier: Classifier, features: Tensor) -> Float32:
    """[C, h, w] of one image's features [D, h, w]; a finding's mean plus the head's bias is its logit."""
    with torch.inference_mode():
        maps: Float32 = classifier.activation_maps(features[None])[0].cpu().numpy()
    return maps


def encode_png(image: Colour, mark: str = "") -> bytes:
    """PNG bytes with a chunk that marks them as an overlay of cxr; the chunk holds `mark`, which is ASCII."""
    is_encoded, data = cv2.imencode(".png", image)
    assert is_encoded
    png = data.tobytes()
    # A chunk is its length without the four letters of its type, then type and content, then their checksum.
    content = OVERLAY + mark.encode("ascii")  # OVERLAY begins with the type
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:_END_OF_IHDR] + chunk + png[_END_OF_IHDR:]
