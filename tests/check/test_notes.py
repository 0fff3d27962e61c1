"""What is remarkable about images is shown by check and pack, with counts."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.commands import call
from tests.helpers.dicoms import write_dicom

PIXELS = np.add.outer(np.arange(50), np.arange(40)).astype(np.uint16) * 40


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A config of six files: a CT, one with an impossible rescale, a constant one and three good ones."""
    root = tmp_path / "images"
    write_dicom(root / "ct", PIXELS, Modality="CT")
    write_dicom(root / "slope0", PIXELS, RescaleSlope=0, RescaleIntercept=0)
    cv2.imwrite(str(root / "flat.png"), np.full((50, 40), 9, np.uint8))
    for name in "abc":
        cv2.imwrite(str(root / f"{name}.png"), np.roll((PIXELS // 20).astype(np.uint8), ord(name)))
    names = ["ct", "slope0", "flat.png", "a.png", "b.png", "c.png"]
    rows = [f"{name},p{row},{row % 2}\n" for row, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("image,patient_id,Mass\n" + "".join(rows))
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"data: {{source: table, root: {root}, csv: {tmp_path / 'labels.csv'}, split: random}}\n"
        f"image: {{store_size: 32, size: 32}}\nstore: {{path: {tmp_path / 'store'}}}\n"
    )
    return path


def test_check_lists_images_with_their_notes(recipe: Path, tmp_path: Path) -> None:
    call("check", recipe, "--out", tmp_path / "out")
    listings = {
        listing["kind"]: listing
        for listing in json.loads((tmp_path / "out" / "check.json").read_text())["listings"]
    }
    assert listings["constant"]["images"] == ["flat.png"]
    assert dict(zip(listings["noted"]["images"], listings["noted"]["notes"], strict=True)) == {
        "ct": "DICOM of modality CT, not a radiograph",
        "slope0": "RescaleSlope and RescaleIntercept make no sense and are ignored",
    }


def test_pack_warns_with_a_count(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("pack", recipe) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert warnings == [
        "warning: DICOM of modality CT, not a radiograph: 1 of 6: ct",
        "warning: RescaleSlope and RescaleIntercept make no sense and are ignored: 1 of 6: slope0",
        "warning: every pixel is the same: 1 of 6: flat.png",
    ]


def test_check_finds_images_that_no_row_names_by_their_content(recipe: Path, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "images" / "ct", tmp_path / "images" / "1.2.840.99")
    (tmp_path / "images" / "README").write_text("text")
    call("check", recipe, "--quick", "--out", tmp_path / "out")
    files = json.loads((tmp_path / "out" / "check.json").read_text())["files"]
    assert (files["unnamed"], files["first_unnamed"]) == (1, ["1.2.840.99"])
