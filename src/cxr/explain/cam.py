"""Class activation maps (Zhou et al. 2016), exact for these models, drawn over the original pixels."""

import math
import struct
import zlib

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.images.grey import Grey, split_rows
from cxr.images.kinds import OVERLAY
from cxr.images.prepare import Preprocess, undo_prepare
from cxr.model.classifier import Classifier

Map = npt.NDArray[np.float32]
Colour = npt.NDArray[np.uint8]

_MAX_OPACITY = 0.55
_MIN_SHARE = 0.2  # of the largest value of a map, below which nothing is drawn
_CAPTION_HEIGHT = 28  # pixels below an image of 512 pixels width
_END_OF_IHDR = 33  # bytes of a PNG: 8 of signature, 25 of the first chunk, which holds width and height
MAX_PIXELS = 25_000_000
"""Above so many, an overlay is drawn on a smaller copy of the image."""


def activation_map(classifier: Classifier, features: Tensor, finding: int) -> Map:
    """[h, w] of one finding from one image's features [D, h, w]; mean plus the head's bias is the logit."""
    with torch.inference_mode():
        return classifier.activation_maps(features[None])[0, finding].cpu().numpy()


def overlay(grey: Grey, cam: Map, preprocess: Preprocess, caption: str) -> Colour:
    """The radiograph with positive evidence in colour and a caption below: BGR [H + caption, W, 3].

    Evidence is shown as a share of the map's largest value. Opacity grows with it from a fifth on, so that
    the rest stays the radiograph.

    Args:
        grey: [H, W]; above 25 million pixels it is drawn at a half, a third ... of its size.
        cam: [h, w] the map of the model's square.
        preprocess: How the square was made of the image, which is undone for the map.
        caption: One line of text.
    """
    factor = math.ceil(math.sqrt(grey.size / MAX_PIXELS))
    if factor > 1:
        smaller = max(1, grey.shape[1] // factor), max(1, grey.shape[0] // factor)
        grey = np.asarray(cv2.resize(grey, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    evidence = np.maximum(cam, 0)
    share = np.asarray(evidence / max(float(evidence.max()), 1e-6), np.float32)
    share = undo_prepare(share, grey, preprocess)  # [h, w] -> [H, W]
    strip = _caption(grey.shape, caption)
    height, width = grey.shape
    drawn = np.empty((height + len(strip), width, 3), np.uint8)
    drawn[height:] = strip
    for rows in split_rows(grey.shape):  # of 25 million pixels at once, the floats alone would be 2 GB
        drawn[:height][rows] = _mix(grey[rows], np.clip(share[rows], 0, 1))
    return drawn


def _mix(grey: Grey, share: Map) -> Colour:
    """Rows of the radiograph [n, W] with the colour of the evidence [n, W] on top: BGR [n, W, 3]."""
    colour = np.asarray(cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO))
    visible_share = np.clip((share - _MIN_SHARE) / (1 - _MIN_SHARE), 0, 1)
    opacity = (visible_share * _MAX_OPACITY)[..., None]
    mixed = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)) * (1 - opacity) + colour * opacity
    return np.asarray(np.rint(mixed), np.uint8)


def _caption(shape: tuple[int, ...], caption: str) -> Colour:
    """The strip below an image [H, W], in letters that fit its width.

    A long thin image limits the strip by its height, or the strip would be many times the image.
    """
    height, width = shape
    scale = max(min(width / 512, height / _CAPTION_HEIGHT), 0.5)
    strip_height = round(_CAPTION_HEIGHT * scale)
    strip = np.zeros((strip_height, width, 3), np.uint8)
    cv2.putText(
        strip,
        caption,
        org=(round(6 * scale), round(strip_height * 0.7)),
        fontFace=cv2.FONT_HERSHEY_SIMPLEX,
        fontScale=0.5 * scale,
        color=(235, 235, 235),
        thickness=max(1, round(scale)),
        lineType=cv2.LINE_AA,
    )
    return strip


def encode_png(image: Colour, mark: str = "") -> bytes:
    """PNG bytes with a chunk that marks them as an overlay of cxr; the chunk holds `mark`, which is ASCII."""
    is_encoded, data = cv2.imencode(".png", image)
    assert is_encoded
    png = data.tobytes()
    # A chunk is its length without the four letters of its type, then type and content, then their checksum.
    content = OVERLAY + mark.encode("ascii")  # OVERLAY begins with the type
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:_END_OF_IHDR] + chunk + png[_END_OF_IHDR:]
