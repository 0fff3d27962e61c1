import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxr.data.image import Preprocess
from cxr.data.store import PACKED, UNREADABLE, Manifest, Store, describe, fingerprint, open_store
from cxr.errors import CxrError

NAMES = ("a.png", "b.png", "c.png")
MANIFEST = describe("nih", NAMES, Preprocess(16))
HINT = "cxr pack CONFIG --overwrite packs it anew, or store.path=FOLDER keeps both"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of three images, the second unreadable, written by hand as store.py describes it."""
    np.arange(3 * 16 * 16).astype(np.uint8).tofile(tmp_path / "pixels.u8")
    (tmp_path / "status.u8").write_bytes(bytes([PACKED, UNREADABLE, PACKED]))
    (tmp_path / "manifest.json").write_text(MANIFEST.to_json())
    return tmp_path


def problems_of(folder: Path, wanted: Manifest = MANIFEST) -> list[str]:
    with pytest.raises(CxrError) as error:
        open_store(folder, wanted)
    assert error.value.hint == HINT
    return [problem.removeprefix(f"{folder}: ") for problem in error.value.problems]


def test_a_store_opens_with_its_pixels_and_what_was_readable(folder: Path) -> None:
    store = open_store(folder, MANIFEST)
    np.testing.assert_array_equal(np.ravel(store.pixels), np.arange(3 * 16 * 16).astype(np.uint8))
    assert store.pixels.shape == (3, 16, 16)
    assert store.readable.tolist() == [True, False, True]


def test_an_open_store_cannot_be_written(folder: Path) -> None:
    store: Store = open_store(folder, MANIFEST)
    with pytest.raises(ValueError, match="read-only"):
        np.asarray(store.pixels)[0] = 0


def test_the_manifest_is_json_that_a_person_can_read() -> None:
    assert json.loads(MANIFEST.to_json()) == {
        "source": "nih",
        "num_images": 3,
        "keys": MANIFEST.keys,
        "files": "",
        "preprocess": {
            "size": 16,
            "fit": "pad",
            "resize": "cv2-area",
            "intensity": "bit-depth",
            "borders": "keep",
            "grey": "bt601",
        },
        "format": 1,
    }


@pytest.mark.parametrize(
    ("wanted", "reasons"),
    [
        (describe("nih", NAMES, Preprocess(32)), ["packed with preprocess.size 16, but the config asks for 32"]),
        (
            describe("nih", NAMES, Preprocess(16, "crop")),
            ["packed with preprocess.fit pad, but the config asks for crop"],
        ),
        (describe("chexpert", NAMES, Preprocess(16)), ["packed with source nih, but the config asks for chexpert"]),
        (
            describe("nih", ("b.png", "a.png", "c.png"), Preprocess(16)),
            ["packed from other images, or in another order, than the label table now names"],
        ),
        (
            describe("nih", NAMES[:2], Preprocess(8)),
            [
                "packed with num_images 3, but the config asks for 2",
                "packed from other images, or in another order, than the label table now names",
                "packed with preprocess.size 16, but the config asks for 8",
            ],
        ),
        (replace(MANIFEST, format=2), ["packed with format 1, but the config asks for 2"]),
    ],
    ids=["size", "fit", "source", "order", "several", "format"],
)
def test_a_store_of_something_else_is_refused_with_every_reason(
    folder: Path, wanted: Manifest, reasons: list[str]
) -> None:
    assert problems_of(folder, wanted) == reasons


def test_names_that_join_to_the_same_text_differ_in_their_number() -> None:
    assert describe("nih", ["a\nb"], Preprocess(16)) != describe("nih", ["a", "b"], Preprocess(16))


@pytest.mark.parametrize("num_bytes", [0, 767, 769])
def test_pixels_of_the_wrong_length_are_refused(folder: Path, num_bytes: int) -> None:
    (folder / "pixels.u8").write_bytes(bytes(num_bytes))
    assert problems_of(folder) == [f"pixels.u8 has {num_bytes} bytes and should have 768"]


def test_a_status_of_the_wrong_length_is_refused(folder: Path) -> None:
    (folder / "status.u8").write_bytes(bytes(2))
    assert problems_of(folder) == ["status.u8 has 2 bytes and should have 3"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "status.u8").unlink(),
        lambda folder: (folder / "pixels.u8").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"source": "nih", '),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"),
    ],
    ids=["no manifest", "no status", "no pixels", "half a manifest", "a list", "no text"],
)
def test_a_folder_that_is_no_whole_store_is_refused(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    (problem,) = problems_of(folder)
    assert problem.startswith("is no store of packed images: ")


def test_archives_of_the_same_names_but_other_files_have_other_fingerprints(tmp_path: Path) -> None:
    for folder, text in (("a", "x"), ("b", "xx"), ("moved", "x")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_text(text)
    ours, other, moved = (fingerprint(tmp_path / folder, ["1.png"]) for folder in ("a", "b", "moved"))
    assert ours == moved != other
