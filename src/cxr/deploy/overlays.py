"""Overlays of an image: which findings are drawn, and their files."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cxr.deploy.overlay_names import OverlayNames
from cxr.deploy.predict_files import Predicted
from cxr.deploy.predict_output import Overlays
from cxr.errors import UnreadableImageError
from cxr.explain.cam import activation_map, encode_png, overlay
from cxr.files import write_bytes
from cxr.images.read import read_file
from cxr.model.checkpoint import Checkpoint
from cxr.text import DISCLAIMER


class CannotDrawError(Exception):
    """An image without overlays: the reason, without its path."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def draw_overlays(checkpoint: Checkpoint, file: Path, predicted: Predicted, names: OverlayNames) -> Overlays:
    """The overlay file of each finding that is drawn.

    Overlays that an earlier run drew of other findings are removed. An overlay holds its image's path as a
    hash, so that it replaces only what an earlier run drew of the same image.

    Raises:
        CannotDrawError: The image is gone, or there is not enough memory.
        CxrError: A file cannot be written.
    """
    try:
        return _draw(checkpoint, file, predicted, names)
    except UnreadableImageError as error:  # it was changed or removed after it was predicted
        raise CannotDrawError(error.reason) from None
    except (cv2.error, MemoryError):
        raise CannotDrawError("it takes more memory than there is, or cannot be drawn") from None


def _draw(checkpoint: Checkpoint, file: Path, predicted: Predicted, names: OverlayNames) -> Overlays:
    preprocess = checkpoint.metadata.preprocess
    grey = read_file(file, preprocess.intensity)
    drawn = Overlays()
    for number in _findings_to_draw(predicted.probabilities, checkpoint.thresholds.values):
        finding = checkpoint.metadata.findings[number]
        cam = activation_map(checkpoint.classifier, predicted.features, number)
        caption = write_caption(finding, predicted.probabilities[number])
        path, mark = names.choose(file, finding)
        write_bytes(path, encode_png(overlay(grey, cam, preprocess, caption), mark))
        drawn[finding] = path
    names.drop_old(file, drawn.values())
    return drawn


def write_caption(finding: str, probability: float) -> str:
    """The line below an overlay."""
    return f"{finding} {probability:.3f}  {DISCLAIMER}"


def _findings_to_draw(probabilities: Sequence[float], thresholds: Sequence[float]) -> list[int]:
    """Numbers of the findings above their threshold, or of the likeliest where none is."""
    pairs = enumerate(zip(probabilities, thresholds, strict=True))
    above = [number for number, (p, threshold) in pairs if p >= threshold]
    return above or [int(np.argmax(probabilities))]
