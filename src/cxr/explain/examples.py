"""The most confident right and wrong calls of each finding, as small pictures with boxes and maps."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cxr.arrays import Float32
from cxr.explain.cases import Image
from cxr.explain.lettering import Colour
from cxr.explain.panel import Panel, make_panel, shrink
from cxr.explain.scale import Scale
from cxr.images.box import Box
from cxr.images.grey import Grey
from cxr.images.prepare import Preprocess
from cxr.report.document import Gallery, Section, Text, Thumbnail

SIDE = 176
"""Pixels of the shorter side of a picture's half."""
_QUALITY = 82
_BOX, _CONTOUR = (90, 220, 90), (255, 230, 120)  # green and light blue, which the colours of maps do not have
KINDS = ("True positives", "False positives", "False negatives")
READING = (
    "Of the images with boxes, those whose probability is highest (true and false positives) or lowest "
    "(false negatives). Positive: the label or a box says so; negative: the label says so, without a box. "
    "So false positives are of images that have a box of another finding; the page of cxr eval has those of "
    "all test images. "
    "Left: the radiograph; right: the map, coloured from 0 to its largest value where the finding is called, "
    "with a contour at half of that where it is not. Green: boxes."
)


class Examples:
    """Some pictures for each finding and kind, the most confident ones so far; threads may add to them."""

    def __init__(
        self, findings: Sequence[str], thresholds: Sequence[float], preprocess: Preprocess, num: int
    ) -> None:
        self._findings, self._thresholds, self._preprocess, self._num = findings, thresholds, preprocess, num
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
            drawn = draw_pair(panel, cells[number], boxes.get(number, ()), grey.shape, kind != KINDS[2])
            jpeg = encode_jpeg(drawn)
            caption = f"probability {probability:.3f}, threshold {self._thresholds[number]:.3f}"
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
    panel: Panel, cells: Float32, boxes: Sequence[Box], shape: tuple[int, ...], is_called: bool
) -> Colour:
    """The radiograph beside itself with the map, boxes on both: BGR [h, 2 w, 3]."""
    values = panel.lay(cells)
    plain = np.asarray(cv2.cvtColor(panel.grey, cv2.COLOR_GRAY2BGR), np.uint8)
    # a map without anything positive must not divide by 0
    top = max(float(values.max()), 1e-9)
    if is_called:
        mapped = Scale(top).paint(panel.grey, values)
    else:
        mapped = plain.copy()
        # [h, w] where the map has at least half of its largest value
        inside = np.asarray(values >= top / 2, np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(mapped, outlines, -1, _CONTOUR, 1, cv2.LINE_AA)
    down, across = panel.grey.shape[0] / shape[0], panel.grey.shape[1] / shape[1]
    for box in boxes:
        first = round(box.x * across), round(box.y * down)
        # OpenCV draws the last pixel too
        last = round((box.x + box.width) * across) - 1, round((box.y + box.height) * down) - 1
        for half in (plain, mapped):
            cv2.rectangle(half, first, last, _BOX, 1)
    return np.hstack([plain, mapped])
