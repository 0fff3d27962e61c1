"""Class activation maps (Zhou et al. 2016), exact for these models, drawn over the file's own pixels."""

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

_OPACITY, _FAINT = 0.55, 0.2
_CAPTION = 28
_AFTER_SIZE = 33  # bytes of a PNG up to the end of its first part, which says its size
_MOST_PIXELS = 25_000_000


def activation_map(classifier: Classifier, features: Tensor, finding: int) -> Map:
    """[h, w] of one finding from one image's feature map [D, h, w]; its mean plus the head's bias is the logit."""
    with torch.inference_mode():
        return classifier.activation_maps(features[None])[0, finding].cpu().numpy()


def overlay(grey: Grey, cam: Map, how: Preprocess, caption: str) -> Colour:
    """The radiograph [H, W] with what speaks for the finding in colour, a caption below: BGR [H + caption, W, 3].

    Only positive evidence is shown, as a share of the map's largest value; opacity grows with it from a fifth on, so
    that what does not speak for the finding stays the radiograph. The map is spread from the model's square to the
    file's own pixels. An image above 25 million pixels is drawn at a half, a third ... of its size.
    """
    factor = math.ceil(math.sqrt(grey.size / _MOST_PIXELS))
    if factor > 1:
        smaller = max(1, grey.shape[1] // factor), max(1, grey.shape[0] // factor)
        grey = np.asarray(cv2.resize(grey, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    evidence = np.maximum(cam, 0)
    share = undo_prepare(np.asarray(evidence / max(float(evidence.max()), 1e-6), np.float32), grey, how)
    strip = _caption(grey.shape, caption)
    picture = np.empty((grey.shape[0] + len(strip), grey.shape[1], 3), np.uint8)
    picture[grey.shape[0] :] = strip
    for rows in split_rows(grey.shape):  # of 25 million pixels the floats alone would be 2 GB
        picture[: grey.shape[0]][rows] = _mix(grey[rows], np.clip(share[rows], 0, 1))
    return picture


def _mix(grey: Grey, share: Map) -> Colour:
    colour = np.asarray(cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO))
    opacity = (np.clip((share - _FAINT) / (1 - _FAINT), 0, 1) * _OPACITY)[..., None]
    mixed = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)) * (1 - opacity) + colour * opacity
    return np.asarray(np.rint(mixed), np.uint8)


def _caption(shape: tuple[int, ...], caption: str) -> Colour:
    """The strip below an image [H, W], in letters that fit its width; at most as high as a long thin image itself."""
    width = shape[1]
    scale = max(min(width / 512, shape[0] / _CAPTION), 0.5)
    height = round(_CAPTION * scale)
    strip = np.zeros((height, width, 3), np.uint8)
    place, size = (round(6 * scale), round(height * 0.7)), 0.5 * scale
    cv2.putText(
        strip,
        caption,
        place,
        cv2.FONT_HERSHEY_SIMPLEX,
        size,
        (235, 235, 235),
        max(1, round(scale)),
        cv2.LINE_AA,
    )
    return strip


def encode_png(picture: Colour, said: str = "") -> bytes:
    """The picture as PNG bytes, marked as an overlay: whoever finds it knows that cxr drew it; `said` is ASCII."""
    done, data = cv2.imencode(".png", picture)
    assert done
    png, mark = data.tobytes(), OVERLAY + said.encode("ascii")
    part = struct.pack(">I", len(mark) - 4) + mark + struct.pack(">I", zlib.crc32(mark))
    return png[:_AFTER_SIZE] + part + png[_AFTER_SIZE:]
