"""Class activation maps (Zhou et al. 2016), exact for these models, drawn over the file's own pixels."""

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.data.image import Grey, Preprocess, undo_prepare
from cxr.model.classifier import Classifier

Map = npt.NDArray[np.float32]
Colour = npt.NDArray[np.uint8]

_OPACITY, _FAINT = 0.55, 0.2
_CAPTION = 28


def activation_map(classifier: Classifier, features: Tensor, finding: int) -> Map:
    """[h, w] of one finding from one image's feature map [D, h, w]; its mean plus the head's bias is the logit."""
    with torch.inference_mode():
        return classifier.activation_maps(features[None])[0, finding].cpu().numpy()


def overlay(grey: Grey, cam: Map, how: Preprocess, caption: str) -> Colour:
    """The radiograph [H, W] with what speaks for the finding in colour, a caption below: BGR [H + caption, W, 3].

    Only positive evidence is shown, as a share of the map's largest value; opacity grows with it from a fifth on, so
    that what does not speak for the finding stays the radiograph. The map is spread from the model's square to the
    file's own pixels.
    """
    evidence = np.maximum(cam, 0)
    share = undo_prepare(np.asarray(evidence / max(float(evidence.max()), 1e-6), np.float32), grey, how)
    share = np.clip(share, 0, 1)
    colour = np.asarray(cv2.applyColorMap(np.rint(share * 255).astype(np.uint8), cv2.COLORMAP_INFERNO))
    opacity = (np.clip((share - _FAINT) / (1 - _FAINT), 0, 1) * _OPACITY)[..., None]
    mixed = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)) * (1 - opacity) + colour * opacity
    return _add_caption(np.rint(mixed).astype(np.uint8), caption)


def _add_caption(picture: Colour, caption: str) -> Colour:
    scale = max(picture.shape[1] / 512, 0.5)
    height = round(_CAPTION * scale)
    strip = np.zeros((height, picture.shape[1], 3), np.uint8)
    place, size = (round(6 * scale), round(height * 0.7)), 0.5 * scale
    cv2.putText(
        strip, caption, place, cv2.FONT_HERSHEY_SIMPLEX, size, (235, 235, 235), max(1, round(scale)), cv2.LINE_AA
    )
    return np.concatenate([picture, strip])


def encode_png(picture: Colour) -> bytes:
    """The picture as PNG bytes."""
    done, data = cv2.imencode(".png", picture)
    assert done
    return data.tobytes()
