"""One generated frontal radiograph: a chest, the findings drawn into it, and a box for each of them."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from cxr.arrays import Float
from cxr.images.box import Box
from cxr.phantom.anatomy import Canvas, Chest, draw_normal


def radiograph(
    chest: Chest, findings: frozenset[str], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], dict[str, Box]]:
    """An image [height, width] of `shape`, and the box of each finding in it.

    The order of draws from `rng` is fixed: another order would be another image.
    """
    # 1. on a square canvas of the image's width: the chest, then its findings
    canvas = Canvas(_reshape(chest, findings, rng), shape[1], rng)
    draw_normal(canvas)
    regions = {name: paint(canvas) for name, paint in PAINTERS.items() if name in findings}
    # two findings are a shape of the chest and were drawn with it
    if "Cardiomegaly" in findings:
        regions["Cardiomegaly"] = canvas.heart
    if "Emphysema" in findings:
        regions["Emphysema"] = canvas.both
    canvas.image += 0.05 * (canvas.cloud(6) - 0.5)

    # 2. turned, moved and magnified into the image; then noise and exposure
    frame = _frame(chest, shape)
    image = cv2.warpAffine(canvas.image, frame, shape[::-1], None, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    image = np.clip(image + 0.04 * (rng.random(shape, np.float32) - 0.5), 0, 1) ** np.float32(chest.gamma)
    boxes = {name: _find_box(regions[name], frame, shape) for name in sorted(regions)}
    return (image * 255).astype(np.uint8), boxes


def _reshape(chest: Chest, findings: frozenset[str], rng: np.random.Generator) -> Chest:
    """The chest as findings that change its shape leave it."""
    # drawn whether it is used or not, so that the findings do not change what follows
    domes, side = list(chest.domes), int(rng.integers(2))
    if "Emphysema" in findings:
        # lungs with too much air: low flat domes, a narrow heart
        domes = [0.80, 0.80]
        chest = replace(
            chest, arch=0.015, air=chest.air + 0.09, apex=chest.apex - 0.02, heart=chest.heart - 0.06
        )
    if "Cardiomegaly" in findings:
        chest = replace(chest, heart=chest.heart + rng.uniform(0.19, 0.27))
    if "Atelectasis" in findings:
        # a collapsed lung pulls its dome upwards
        domes[side] = min(domes) - rng.uniform(0.07, 0.11)
    return replace(chest, domes=(domes[0], domes[1]))


def _frame(chest: Chest, shape: tuple[int, int]) -> Float:
    """The affine map [2, 3] from the canvas to the image's pixels: rotation, zoom, shift, height."""
    height, width = shape
    frame = cv2.getRotationMatrix2D((width / 2, width / 2), chest.tilt, chest.zoom)
    frame[:, 2] += np.array(chest.shift) * width  # the last column is the shift, in pixels
    # the second row gives y: squeezed from the square canvas into the image's height
    frame[1] *= height / width
    return frame.astype(np.float32)


def _find_box(region: Float, frame: Float, shape: tuple[int, int]) -> Box:
    """The box around a region [size, size] of the canvas, in pixels of the image."""
    # where the region is at least 0.4 of its strongest: its faint edge is not marked
    moved = cv2.warpAffine(region, frame, shape[::-1])
    return Box(*cv2.boundingRect((moved > 0.4 * moved.max()).astype(np.uint8)))


def _effusion(c: Canvas) -> Float:
    side, rise = c.random_side(), c.rng.uniform(0.09, 0.2)
    across = np.clip(c.outwards(side) / c.chest.width, 0, 1)
    # [1, size] the fluid's level, which climbs along the rib cage (meniscus)
    surface = c.chest.domes[side > 0] + 0.04 - rise - 0.10 * across**4
    fluid = (
        c.ramp(c.y - surface, 0.02) * c.ramp(c.lateral - c.outwards(side)) * c.ramp(c.outwards(side) - 0.03)
    )
    fluid = fluid * c.ramp(c.base(side) - c.y, 0.03)
    c.paint(fluid, 0.68, 0.9)
    return fluid


def _pneumothorax(c: Canvas) -> Float:
    side = c.random_side()
    # [size, 1] width of the air between lung and rib cage, widest at the apex
    gap = c.rng.uniform(0.07, 0.10) * (0.35 + 1.9 * (1 - c.depth) ** 1.5)
    edge = c.outwards(side) - (c.lateral - gap)
    free = c.lungs[side] * c.ramp(edge, 0.008) * c.ramp(0.75 - c.depth, 0.3)
    c.paint(free, 0.03, 0.9)
    # the lung's edge, a thin bright line
    c.image += 0.28 * c.lungs[side] * np.exp(-((edge / 0.007) ** 2)) * c.ramp(0.75 - c.depth, 0.2)
    return free


def _mass(c: Canvas) -> Float:
    x, y = c.random_point(c.random_side(), (0.2, 0.75), (0.5, 0.75))
    radius = c.rng.uniform(0.055, 0.075)
    mass = c.ellipse(x, y, radius, radius * c.rng.uniform(0.85, 1.15), 0.15)
    c.paint(mass, 0.78, 0.9)
    return mass


def _nodule(c: Canvas) -> Float:
    x, y = c.random_point(c.random_side(), (0.15, 0.8), (0.5, 0.85))
    radius = c.rng.uniform(0.024, 0.033)
    nodule = c.ellipse(x, y, radius, radius, 0.25)
    c.paint(nodule, 0.88, 0.95)
    return nodule


def _atelectasis(c: Canvas) -> Float:
    # the side whose dome `_reshape` has raised
    side = 1 if c.chest.domes[1] < c.chest.domes[0] else -1
    hilum = 0.5 + side * 0.2 * c.chest.width, c.chest.apex + 0.33
    x, y = c.random_point(side, (0.75, 0.9), (0.95, 1.0))
    # a wedge from the lung's root to the rib cage, its edges blurred
    wedge = c.lines([[hilum, (x, y - 0.075), (x, y + 0.02)]], 0, closed=True)
    wedge = cv2.GaussianBlur(wedge, (0, 0), 0.006 * c.size) * c.lungs[side]
    c.paint(wedge, 0.68, 0.85)
    return wedge


def _infiltration(c: Canvas) -> Float:
    side = c.random_side()
    x, y = c.random_point(side, (0.4, 0.6), (0.5, 0.65))
    area = c.ellipse(x, y, 0.13, 0.2, 0.5) * c.lungs[side]
    # patches of many small lumps
    c.paint(area * c.ramp(c.cloud(36) - 0.52, 0.4), 0.68, 0.7)
    return area


def _consolidation(c: Canvas) -> Float:
    side = c.random_side()
    # the upper or the lower part of a lung, bounded by a slanting fissure
    top, bottom = (0.0, 0.42) if c.rng.random() < 0.5 else (0.40, 0.72)
    slant = c.rng.uniform(-0.15, 0.15) * c.outwards(side) / c.chest.width
    lobe = c.lungs[side] * c.ramp(c.depth - top - slant, 0.04) * c.ramp(bottom + slant - c.depth, 0.04)
    c.paint(lobe, 0.66, 0.85)
    return lobe


def _pneumonia(c: Canvas) -> Float:
    side = c.random_side()
    x, y = c.random_point(side, (0.35, 0.75), (0.5, 0.7))
    focus = c.ellipse(x, y, 0.12, 0.11, 1.0) * c.lungs[side]
    bronchi = []
    for slope in (-0.8, 0.0, 0.8):
        root = (x - side * 0.07, y + 0.01 * slope)
        bronchi.append(
            [root, (x, y + 0.05 * slope), (x + side * 0.07, y + (0.09 + c.rng.normal(0, 0.015)) * slope)]
        )
    c.paint(focus, 0.75, 0.9)
    # air in the bronchi stays dark within the bright focus (air bronchogram)
    c.paint(focus * c.lines(bronchi, 0.010), 0.25, 0.75)
    return focus


def _edema(c: Canvas) -> Float:
    w, y = c.chest.width, c.chest.apex + 0.31
    # on both sides of the middle, like the wings of a butterfly
    wings = np.maximum(*(c.ellipse(0.5 + side * 0.36 * w, y, 0.42 * w, 0.19, 1.0) for side in (-1, 1)))
    wings = wings * c.both
    c.paint(wings * (0.7 + 0.3 * c.cloud(12)), 0.62, 0.75)
    return wings


def _fibrosis(c: Canvas) -> Float:
    base = c.clear * c.ramp(c.depth - 0.66, 0.15)
    # two nets of thin lines, where smooth noise crosses its middle
    net = np.maximum(*(np.clip(1.6 - np.abs(c.cloud(18) - 0.5) / 0.06, 0, 1) for _ in range(2)))
    c.paint(base * net, 0.72, 0.7)
    return base


def _pleural_thickening(c: Canvas) -> Float:
    side = c.random_side()
    # [size, 1] a rim along the rib cage of uneven thickness
    thick = c.rng.uniform(0.026, 0.036) * (0.75 + 0.5 * c.cloud(8)[:, :1])
    extent = c.ramp(c.depth - c.rng.uniform(0.1, 0.25), 0.05) * c.ramp(
        c.rng.uniform(0.85, 0.95) - c.depth, 0.05
    )
    rim = c.lungs[side] * c.ramp(c.outwards(side) - c.lateral + thick) * extent
    c.paint(rim, 0.85, 0.9)
    return rim


def _hernia(c: Canvas) -> Float:
    radius = c.rng.uniform(0.06, 0.075)
    x, y = 0.5 + c.random_side() * c.rng.uniform(0.0, 0.03), max(c.chest.domes) - 0.6 * radius
    pouch = c.ellipse(x, y, radius * 1.15, radius, 0.15)
    c.paint(pouch, 0.82, 0.9)
    # gas above fluid in the pouch: dark above a level line
    c.paint(c.ellipse(x, y, radius, radius * 0.85, 0.15) * c.ramp(y - c.y, 0.006), 0.12, 0.9)
    return pouch


def _fracture(c: Canvas) -> Float:
    side = c.random_side()
    x, y = c.random_point(side, (0.3, 0.7), (0.75, 0.9))
    # two pieces of a rib that no longer meet
    inner = [(x - side * 0.06, y - 0.02), (x - side * 0.006, y - 0.01)]
    outer = [(x + side * 0.006, y + 0.015), (x + side * 0.05, y + 0.045)]
    c.paint(c.lines([inner, outer], 0.016), 0.80, 0.85)
    return c.ellipse(x, y, 0.06, 0.05, 0.2)


def _device(c: Canvas) -> Float:
    side, top = c.random_side(), c.chest.apex
    x, y = 0.5 + side * 0.72 * c.chest.width, top + 0.12
    turn = np.linspace(0, np.pi / 2, 9)
    # a lead from the device below the collarbone to the middle, along a quarter of a circle
    bend = [
        (0.5 + (x - 0.5) * (1 - np.sin(t)), y - 0.06 * np.sin(2 * t) + 0.1 * (1 - np.cos(t))) for t in turn
    ]
    lead = c.lines([[*bend, (0.52, top + 0.42)]], 0.008)
    if c.rng.random() < 0.5:
        lead = np.maximum(lead, c.ellipse(x, y, 0.045, 0.035, 0.1))
    c.paint(lead, 1.0, 0.95)
    return lead


# the order is important: wide and faint findings first, so that small and sharp ones are not painted over
PAINTERS: dict[str, Callable[[Canvas], Float]] = {
    "Edema": _edema,
    "Consolidation": _consolidation,
    "Infiltration": _infiltration,
    "Fibrosis": _fibrosis,
    "Pneumonia": _pneumonia,
    "Atelectasis": _atelectasis,
    "Effusion": _effusion,
    "Pneumothorax": _pneumothorax,
    "Pleural_Thickening": _pleural_thickening,
    "Hernia": _hernia,
    "Mass": _mass,
    "Nodule": _nodule,
    "Fracture": _fracture,
    "Support Devices": _device,
}
