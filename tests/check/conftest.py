import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Pixels = np.ndarray


def names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "images").iterdir())


def rewrite(path: Path, change: Callable[[Pixels], Pixels]) -> None:
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert pixels is not None
    assert cv2.imwrite(str(path), change(pixels))


def coloured(pixels: Pixels) -> Pixels:
    return np.stack([pixels, pixels // 2, np.full_like(pixels, 40)], axis=-1)


def noisy_grey(pixels: Pixels) -> Pixels:
    return (127 + np.random.default_rng(0).integers(0, 3, pixels.shape)).astype(np.uint8)


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "constant": np.zeros_like,
    "nearly_constant": noisy_grey,
    "inverted": lambda pixels: 255 - pixels,
    "small": lambda pixels: cv2.resize(pixels, (30, 30)),
    "odd_size": lambda pixels: cv2.resize(pixels, (300, 300)),
    "odd_shape": lambda pixels: cv2.resize(pixels, (120, 50)),
    "colour": coloured,
    "grey_as_colour": lambda pixels: np.stack([pixels] * 3, axis=-1),
}
"""How each kind of odd image is made of a good one."""


@pytest.fixture
def faulty(nih_root: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """(a copy of the dataset with one fault of each kind, the file of each)."""
    root = tmp_path / "faulty"
    shutil.copytree(nih_root, root)
    images = [f"images/{name}" for name in names(root)]
    kinds = ["missing", "truncated", "unreadable", *CHANGES, "twin_file", "twin_pixels"]
    planted = dict(zip(kinds, images, strict=False))
    good = images[len(kinds)]
    for kind, change in CHANGES.items():
        rewrite(root / planted[kind], change)
    (root / planted["missing"]).unlink()
    (root / planted["truncated"]).write_bytes((root / planted["truncated"]).read_bytes()[:300])
    (root / planted["unreadable"]).write_bytes(b"<script>alert(1)</script>")
    shutil.copy(root / good, root / planted["twin_file"])
    shutil.copy(root / good, root / planted["twin_pixels"])
    rewrite(root / planted["twin_pixels"], lambda pixels: np.stack([pixels] * 3, axis=-1))
    shutil.copy(root / good, root / "images" / "<script>alert(1).png")
    (root / "images" / "notes.txt").write_text("no image")
    return root, planted | {"good": good}
