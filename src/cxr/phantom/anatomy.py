"""A chest without findings: its build, its canvas, and soft tissue, lungs, heart, vessels and bones.

Lengths are shares of the image's width, brightness runs from 0 (air) to 1 (bone). `side` is -1 for the lung
at the image's left and 1 for the other; `outwards` is the distance from the midline on that side. Masks are
[size, size] from 0 to 1, and so are coordinates in one row [1, size] or one column [size, 1].
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from cxr.arrays import Float


@dataclass(frozen=True)
class Chest:
    """The build of one patient, and what one exposure and its findings make of it."""

    width: float
    """Half of the inner thorax."""
    apex: float
    """Height at which the lungs begin, from the top."""
    domes: tuple[float, float]
    """Heights of the two diaphragm domes, from the top."""
    arch: float = 0.10
    """Depth of the costophrenic angles below the domes."""
    heart: float = 0.44
    """Cardiothoracic ratio: widest heart over inner thorax."""
    air: float = 0.40
    """How much darker the lungs are than soft tissue."""
    tilt: float = 0.0
    """Rotation in degrees."""
    shift: tuple[float, float] = (0.0, 0.0)
    """Displacement to the right and down."""
    zoom: float = 1.0
    """Magnification."""
    gamma: float = 1.0
    """Exposure: above 1 is darker."""


class Canvas:
    """The image while it is drawn, [size, size], with the coordinates that shapes are cut from."""

    def __init__(self, chest: Chest, size: int, rng: np.random.Generator) -> None:
        self.chest, self.size, self.rng = chest, size, rng
        ticks = (np.arange(size, dtype=np.float32) + 0.5) / size
        self.x: Float = ticks[None, :]  # [1, size], of the middle of each pixel
        self.y: Float = ticks[:, None]  # [size, 1]
        # [size, 1]: 0 at the apex of the lungs, 1 at their base
        self.depth: Float = np.clip((self.y - chest.apex) / (0.78 - chest.apex), 0, 1)
        # [size, 1]: distance of the rib cage from the midline, narrow at the apex
        self.lateral: Float = chest.width * (0.42 + 0.58 * (1 - (1 - self.depth) ** 2.4) ** 0.8)
        self.image: Float = np.zeros((size, size), dtype=np.float32)
        self.both = self._lungs()
        self.lungs = {side: self.both * (self.outwards(side) > 0) for side in (-1, 1)}
        self.heart = self._heart()
        self.clear: Float = self.both * (1 - self.heart)

    def outwards(self, side: int) -> Float:
        """Distance from the midline on that side, [1, size]."""
        return side * (self.x - 0.5)

    def base(self, side: int) -> Float:
        """Height of the diaphragm on that side, [1, size]."""
        # a parabola in the distance from the midline: highest near
        # the dome's middle, low towards the rib cage
        bend = (self.outwards(side) / self.chest.width - 0.42) / 0.5
        return self.chest.domes[side > 0] + self.chest.arch * bend**2

    def ramp(self, distance: Float, soft: float = 0.012) -> Float:
        """A mask rising from 0 to 1 where `distance` passes 0, over `soft` or one pixel."""
        # half of it at distance 0; at least a pixel wide, so that edges have no steps
        mask: Float = np.clip(distance / max(soft, 1 / self.size) + 0.5, 0, 1)
        return mask

    def _lungs(self) -> Float:
        # [1, size] distance from the midline, on both sides alike
        w, out = self.chest.width, np.abs(self.x - 0.5)
        # [size, 1] where a lung begins beside the mediastinum, further out at the apex
        hilum = 0.15 * w + 0.10 * w * (1 - self.depth) ** 4
        # [1, size] the rounded top of each lung
        cap = np.minimum(self.chest.apex + 0.07 * ((out - 0.38 * w) / (0.26 * w)) ** 2, 0.4)
        base = np.where(self.x > 0.5, self.base(1), self.base(-1))
        # [size, size] distance to the nearer edge across; the
        # smallest of all distances is that to the outline
        across = np.minimum(self.lateral - out, out - hilum)
        return self.ramp(np.minimum(across, np.minimum(self.y - cap, base - self.y)), 0.015)

    def _heart(self) -> Float:
        # half of the widest heart, and where it rests: on the lower dome
        reach, floor = self.chest.heart * self.chest.width, max(self.chest.domes)
        tall = 0.09 + 0.10 * self.chest.heart
        # the larger part lies at the patient's left, which is at the image's right
        ventricle = self.ellipse(0.5 + 0.30 * reach, floor - 0.75 * tall, 1.06 * reach, tall, 0.12, 0.35)
        atrium = self.ellipse(0.5 - 0.15 * reach, floor - 0.9 * tall, 0.57 * reach, 1.1 * tall, 0.12)
        return np.maximum(ventricle, atrium)

    def ellipse(
        self, x: float, y: float, rx: float, ry: float, soft: float = 0.2, turn: float = 0.0
    ) -> Float:
        """A mask of an ellipse turned by `turn` radians; it fades over the share `soft` of its radius."""
        # only the pixels around it: most shapes are small, and the rest stays 0
        rows, columns = self._window(x, y, max(rx, ry) * (1 + soft))
        right, down = self.x[:, columns] - x, self.y[rows] - y
        cos, sin = math.cos(turn), math.sin(turn)
        # in the ellipse's own axes: 0 in its middle, 1 on its edge
        radius = np.sqrt(((right * cos + down * sin) / rx) ** 2 + ((down * cos - right * sin) / ry) ** 2)
        mask: Float = np.zeros((self.size, self.size), dtype=np.float32)
        mask[rows, columns] = np.clip((1 - radius) / max(soft, 1 / (self.size * rx)) + 0.5, 0, 1)
        return mask

    def _window(self, x: float, y: float, reach: float) -> tuple[slice, slice]:
        """Rows and columns within `reach` and a pixel of a point."""
        pixels = math.ceil(reach * self.size) + 1
        row, column = int(y * self.size), int(x * self.size)
        rows = slice(max(row - pixels, 0), row + pixels + 1)
        columns = slice(max(column - pixels, 0), column + pixels + 1)
        return rows, columns

    def lines(self, paths: list[list[tuple[float, float]]], thickness: float, closed: bool = False) -> Float:
        """A mask of smooth lines through the points of each path, or of the polygons they close."""
        layer = np.zeros((self.size, self.size), dtype=np.uint8)
        # OpenCV takes sixteenths of a pixel (shift 4), counted from the middle of the first pixel
        pixels = [np.round(np.array(path) * self.size * 16 - 8).astype(np.int32) for path in paths]
        if closed:
            cv2.fillPoly(layer, pixels, 255, cv2.LINE_AA, 4)
        else:
            cv2.polylines(layer, pixels, False, 255, max(1, round(thickness * self.size)), cv2.LINE_AA, 4)
        return layer.astype(np.float32) / 255

    def cloud(self, cells: int) -> Float:
        """Smooth noise [size, size] from 0 to 1 with about `cells` lumps across."""
        lumps = self.rng.random((cells, cells), np.float32)
        smooth = cv2.resize(lumps, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        return np.clip(smooth, 0, 1)  # cubic interpolation overshoots

    def paint(self, mask: Float, brightness: float, strength: float = 0.8) -> None:
        """Blends the image towards a brightness where the mask is."""
        self.image += (strength * mask) * (brightness - self.image)

    def random_point(
        self, side: int, depth: tuple[float, float], across: tuple[float, float]
    ) -> tuple[float, float]:
        """A random point (x, y) of a lung: `depth` from apex to base, `across` from hilum to rib cage."""
        share = self.rng.uniform(*depth)
        y = self.chest.apex + share * (self.chest.domes[side > 0] - self.chest.apex)
        # how far the lung reaches at that height
        lateral = float(self.lateral[min(int(y * self.size), self.size - 1), 0])
        return 0.5 + side * lateral * self.rng.uniform(*across), y

    def random_side(self) -> int:
        """-1 or 1 by chance."""
        return 1 if self.rng.random() < 0.5 else -1


def draw_normal(canvas: Canvas) -> None:
    """Draws what every chest has."""
    _tissue(canvas)
    _vessels(canvas)
    _mediastinum(canvas)
    _bones(canvas)


def _tissue(c: Canvas) -> None:
    # [size, 1] how wide the body is from the top on: the neck, then the shoulders
    rise = np.clip((c.y - 0.01) / 0.14, 0, 1) ** 0.6
    shoulders = 0.06 * np.exp(-(((c.y - 0.26) / 0.12) ** 2))
    # [size, size] soft tissue, darker above the diaphragm than below it; the spine is the brightest
    body = c.ramp(0.12 + (c.chest.width - 0.01 + shoulders) * rise - np.abs(c.x - 0.5), 0.07)
    abdomen = c.ramp(c.y - min(c.chest.domes) - 0.02, 0.2)
    c.image += body * (0.50 + 0.12 * abdomen + 0.08 * np.exp(-(((c.x - 0.5) / 0.12) ** 2)))
    # air in the lungs, then a bubble of gas in the stomach below the dome at the image's right
    c.image -= c.both * c.chest.air
    c.paint(c.ellipse(0.5 + 0.45 * c.chest.width, c.chest.domes[1] + 0.09, 0.05, 0.03, 0.8), 0.35, 0.5)


def _vessels(c: Canvas) -> None:
    twigs = []
    for side in (-1, 1):
        # vessels leave the lung's root, bend once by chance, and end anywhere in the lung
        hilum = (0.5 + side * 0.26 * c.chest.width, c.chest.apex + 0.30)
        for _ in range(14):
            x, y = c.random_point(side, (0.05, 0.95), (0.4, 0.95))
            bend = c.rng.normal(0, 0.02, 2)
            twigs.append([hilum, ((hilum[0] + x) / 2 + bend[0], (hilum[1] + y) / 2 + bend[1]), (x, y)])
        c.image += 0.10 * c.ellipse(hilum[0], hilum[1], 0.04, 0.07, 1.0)
    # [1, size] vessels are brighter near the root, where they are thicker
    near = np.exp(-(((np.abs(c.x - 0.5) - 0.25 * c.chest.width) / 0.12) ** 2))
    c.image += c.lines(twigs, 0.006) * c.both * (0.05 + 0.10 * near)


def _mediastinum(c: Canvas) -> None:
    # great vessels in the middle and the arch of the aorta at the image's right, together with the heart
    stem = c.ellipse(0.5, max(c.chest.domes) - 0.22, 0.20 * c.chest.width, 0.24, 0.2)
    arch = c.ellipse(0.5 + 0.10 * c.chest.width, c.chest.apex + 0.17, 0.13 * c.chest.width, 0.045, 0.3)
    c.paint(np.maximum(c.heart, np.maximum(stem, arch)), 0.62, 0.9)


def _bones(c: Canvas) -> None:
    w, top = c.chest.width, c.chest.apex
    arc = np.linspace(0.1, 1, 9)
    back, front, collar = [], [], []
    for side in (-1, 1):
        # nine pairs of ribs: the back parts curve upwards, the front parts run downwards to the middle
        for level in top + np.arange(9) * 0.078:
            reach = w * (0.42 + 0.58 * min(1, (level - top + 0.05) / 0.25) ** 0.5)
            back.append(
                [(0.5 + side * reach * a, level - 0.035 * np.sin(2.2 * a) + 0.10 * a**3) for a in arc]
            )
            front.append([(0.5 + side * reach * a, level + 0.16 - 0.10 * a**2) for a in arc[3:]])
        collar.append([(0.5 + side * w * a, top + 0.075 - 0.07 * a + 0.012 * np.sin(6 * a)) for a in arc])
    # ribs are seen best over air; the heart hides them in part
    c.image += (0.10 * c.lines(back, 0.014) + 0.05 * c.lines(front, 0.016)) * (0.3 + 0.7 * c.clear)
    c.image += 0.14 * c.lines(collar, 0.022)
    # [size, 1] vertebrae and the discs between them, as waves down the spine
    discs = 0.5 + 0.5 * np.cos(c.y * 2 * np.pi / 0.055)
    c.image += c.ramp(0.036 - np.abs(c.x - 0.5), 0.02) * (0.04 + 0.05 * discs)
