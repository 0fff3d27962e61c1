"""The most confident right and wrong calls of each finding, as small pictures with boxes and maps."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cxr.arrays import Float32
from cxr.explain.cases import Image
from cxr.explain.contour import draw_contour
from cxr.explain.lettering import Colour
from cxr.explain.maps import LEAST_TOPS, UNITS, Method
from cxr.explain.panel import Panel, make_panel, shrink
from cxr.explain.scale import Scale
from cxr.images.box import Box
from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess
from cxr.report.document import Gallery, Section, Text, Thumbnail

SIDE = 176
"""Pixels of the shorter side of a picture's half."""
_QUALITY = 82
_BOX = (90, 220, 90)  # green, which the colours of maps do not have
KINDS = ("True positives", "False positives", "False negatives")
READING = (
    "Of the images with boxes, those whose probability is highest (true and false positives) or lowest "
    "(false negatives). Positive: the label or a box says so; negative: the label says so, without a box. "
    "So false positives are of images that have a box of another finding; the page of cxr eval has those of "
    "all test images. "
    "Left: the radiograph; right: the map, coloured where the finding is called, with a contour at half of "
    "the scale where it is not. The scale ends at the map's largest value, which the caption states, and not "
    f"below {LEAST_TOPS['cam']:g} logit (CAM) or {LEAST_TOPS['occlusion']:g} of probability (occlusion): a "
    "map of almost nothing has almost no colour. Green: boxes."
)


class Examples:
    """Some pictures for each finding and kind, the most confident ones so far; threads may add to them."""

    def __init__(
        self,
        findings: Sequence[str],
        thresholds: Sequence[float],
        preprocess: Preprocess,
        num: int,
        method: Method,
    ) -> None:
        self._findings, self._thresholds, self._preprocess, self._num = findings, thresholds, preprocess, num
        self._method = method
        self._kept: dict[tuple[int, str], list[tuple[float, str, Thumbnail]]] = defaultdict(list)
        self._lock = threading.Lock()

    def add(
        self,
        image: Image,
        grey: Grey,
        probabilities: Sequence[float],
        cells: Float32,
        boxes: Mapping[int, Sequence[Box]],
    ) -> None:
        """Consider an image [H, W] with its probabilities, maps [C, h, w] and boxes by number of the finding.

        A map that was not computed, which is 0 everywhere, makes no picture.
        """
        panel: Panel | None = None
        for number, probability in enumerate(probabilities):
            kind = self._kind(image, number, probability, number in boxes)
            confidence = probability if kind != KINDS[2] else 1 - probability
            if kind is None or not self._is_wanted(number, kind, confidence) or not cells[number].any():
                continue
            # made once, for the first finding that wants a picture, as most images have none
            panel = panel or shrink(make_panel(grey, self._preprocess, 1), SIDE)
            drawn, largest = draw_pair(
                panel, cells[number], boxes.get(number, ()), grey.shape, kind != KINDS[2], self._method
            )
            jpeg = encode_jpeg(drawn)
            caption = f"probability {probability:.3f}, threshold {self._thresholds[number]:.3f}, {largest}"
            with self._lock:
                kept = self._kept[number, kind]
                kept.append((confidence, image.name, Thumbnail(jpeg, image.name, caption)))
                # By confidence, then by name: threads finish in any order, the pictures shown are the same.
                kept.sort(key=lambda example: (-example[0], example[1]))
                del kept[self._num :]

    def sections(self, shown: Sequence[str]) -> tuple[Section, ...]:
        """For each of the findings that has a picture a folded section."""
        sections = []
        for number, finding in enumerate(self._findings):
            parts: list[Text | Gallery] = []
            for kind in KINDS:
                kept = self._kept.get((number, kind), [])
                if kept and finding in shown:
                    thumbnails = tuple(thumbnail for *_, thumbnail in kept)
                    parts += [Text("", label=kind), Gallery(f"{finding}: {kind}", thumbnails, is_wide=True)]
            if parts:
                sections.append(Section(finding, tuple(parts), is_folded=True))
        return tuple(sections)

    def _kind(self, image: Image, number: int, probability: float, has_box: bool) -> str | None:
        """One of KINDS; None for a true negative, and where it is unknown whether the finding is there."""
        label = image.labels[number] if image.labels else np.nan
        is_called = probability >= self._thresholds[number]
        if has_box or label == 1:
            return KINDS[0] if is_called else KINDS[2]
        return KINDS[1] if label == 0 and is_called else None

    def _is_wanted(self, number: int, kind: str, confidence: float) -> bool:
        with self._lock:
            kept = self._kept[number, kind]
            # asked before a picture is drawn: most would not be kept
            return len(kept) < self._num or confidence >= kept[-1][0]


def encode_jpeg(picture: Colour | Grey) -> bytes:
    """A picture as a small file."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes())


def draw_pair(
    panel: Panel,
    cells: Float32,
    boxes: Sequence[Box],
    shape: tuple[int, ...],
    is_called: bool,
    method: Method,
) -> tuple[Colour, str]:
    """(the radiograph beside its map, boxes on both: BGR [h, 2 w, 3]; the map's largest value in words)."""
    values = panel.lay(cells)
    plain = np.asarray(cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR), np.uint8)
    largest = float(values.max())
    top = max(largest, LEAST_TOPS[method])
    if is_called:
        mapped = Scale(top).paint(panel.grey, values)
    else:
        mapped = plain.copy()
        draw_contour(mapped, values, top / 2, panel.seen, 1)
    down, across = panel.grey.shape[0] / shape[0], panel.grey.shape[1] / shape[1]
    for box in boxes:
        first = round(box.x * across), round(box.y * down)
        # OpenCV draws the last pixel too
        last = round((box.x + box.width) * across) - 1, round((box.y + box.height) * down) - 1
        for half in (plain, mapped):
            cv2.rectangle(half, first, last, _BOX, 1)
    unit = UNITS[method]
    said = (
        f"map up to {largest:+.2g}{f' {unit}' if unit else ''}" if largest > 0 else "no place speaks for it"
    )
    return np.hstack([plain, mapped]), said
