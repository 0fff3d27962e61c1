import contextlib
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxr.data.checksums import check_pixels
from cxr.data.file_records import PACKED, UNREADABLE, FileRecords, load_records
from cxr.data.manifest import Manifest, fingerprint, make_manifest
from cxr.data.store import Store, open_store
from cxr.data.store_files import StoreFiles
from cxr.errors import CxrError
from cxr.images.prepare import Preprocess

NAMES = ("a.png", "b.png", "c.png")
MANIFEST = make_manifest("nih", NAMES, Preprocess(16))
HINT = "cxr pack CONFIG --overwrite packs it again, or store.path=FOLDER keeps both"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store of three images, the second unreadable, written by hand as store.py describes it."""
    pixels = np.arange(3 * 16 * 16).astype(np.uint8)
    pixels.tofile(tmp_path / "pixels.u8")
    sums = np.array([zlib.crc32(row.data) for row in pixels.reshape(3, 256)], np.uint32)
    sizes, times = np.array([7, 8, 9]), np.array([10**18, 10**18, 10**18])
    FileRecords(np.array([PACKED, UNREADABLE, PACKED], np.uint8), sizes, times, sums).save(tmp_path)
    (tmp_path / "images.txt").write_text("".join(f"{name}\n" for name in NAMES))
    (tmp_path / "manifest.json").write_text(MANIFEST.to_json())
    return tmp_path


def make_older(folder: Path, files: str = "") -> Path:
    """The same store as the first release wrote it."""
    manifest = json.loads(MANIFEST.to_json()) | {"files": files, "format": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "rows.npz").unlink()
    (folder / "status.u8").write_bytes(bytes([PACKED, UNREADABLE, PACKED]))
    return folder


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
        "preprocess": {
            "size": 16,
            "fit": "pad",
            "resize": "cv2-area",
            "intensity": "bit-depth",
            "borders": "keep",
            "grey": "bt601",
        },
        "format": 2,
    }


@pytest.mark.parametrize(
    ("wanted", "reasons"),
    [
        (
            make_manifest("nih", NAMES, Preprocess(32)),
            ["packed with preprocess.size 16, but the config asks for 32"],
        ),
        (
            make_manifest("nih", NAMES, Preprocess(16, "crop")),
            ["packed with preprocess.fit pad, but the config asks for crop"],
        ),
        (
            make_manifest("chexpert", NAMES, Preprocess(16)),
            ["packed with source nih, but the config asks for chexpert"],
        ),
        (
            make_manifest("nih", ("b.png", "a.png", "c.png"), Preprocess(16)),
            ["packed from other images, or in another order, than the label table now names"],
        ),
        (
            make_manifest("nih", NAMES[:2], Preprocess(8)),
            [
                "packed with num_images 3, but the config asks for 2",
                "packed with preprocess.size 16, but the config asks for 8",
                "packed from other images, or in another order, than the label table now names",
            ],
        ),
        (replace(MANIFEST, format=3), ["packed with format 2, but the config asks for 3"]),
    ],
    ids=["size", "fit", "source", "order", "several", "format"],
)
def test_a_store_of_something_else_is_refused_with_every_reason(
    folder: Path, wanted: Manifest, reasons: list[str]
) -> None:
    assert problems_of(folder, wanted) == reasons


def test_names_that_join_to_the_same_text_differ_in_their_number() -> None:
    assert make_manifest("nih", ["a\nb"], Preprocess(16)) != make_manifest("nih", ["a", "b"], Preprocess(16))


@pytest.mark.parametrize("num_bytes", [0, 767, 769])
def test_pixels_of_the_wrong_length_are_refused(folder: Path, num_bytes: int) -> None:
    (folder / "pixels.u8").write_bytes(bytes(num_bytes))
    assert problems_of(folder) == [f"pixels.u8 has {num_bytes} bytes and should have 768"]


def test_rows_of_the_wrong_length_are_refused(folder: Path) -> None:
    two = FileRecords(*(array[:2] for array in vars(load_records(folder)).values()))
    two.save(folder)
    assert problems_of(folder) == ["rows.npz has 2 rows and should have 3"]


def test_a_store_of_the_first_release_opens_and_says_what_it_does_not_know(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = StoreFiles(tmp_path, NAMES, NAMES, lambda _: pytest.fail("read"))
    store = open_store(make_older(folder, fingerprint(tmp_path, NAMES)), MANIFEST, files)
    assert store.readable.tolist() == [True, False, True]
    assert "files that have changed since are not noticed" in " ".join(capsys.readouterr().err.split())
    check_pixels(store)  # there is nothing to compare with
    with pytest.raises(CxrError, match=r"packed from other files than data\.root now holds"):
        open_store(make_older_again(folder), MANIFEST, files)


def make_older_again(folder: Path) -> Path:
    manifest = json.loads((folder / "manifest.json").read_text()) | {"files": "0123456789abcdef"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_any_damage_of_rows_npz_is_found(folder: Path) -> None:
    data, expected = (folder / "rows.npz").read_bytes(), vars(load_records(folder))
    for place in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        (folder / "rows.npz").write_bytes(damaged)
        with contextlib.suppress(ValueError):  # refused, or a byte that says nothing, as a date
            found = vars(load_records(folder))
            assert all(np.array_equal(found[name], array) for name, array in expected.items())
    for length in range(0, len(data), 41):
        (folder / "rows.npz").write_bytes(data[:length])
        with pytest.raises(ValueError, match="damaged"):
            load_records(folder)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_damaged_row_is_named_with_what_to_do(folder: Path, row: int) -> None:
    data = bytearray((folder / "pixels.u8").read_bytes())
    data[row * 256 + 99] ^= 4
    (folder / "pixels.u8").write_bytes(data)
    with pytest.raises(CxrError) as error:
        check_pixels(open_store(folder, MANIFEST))
    assert error.value.render() == (
        f"error: {folder}: 1 image of 3 damaged on this disk: {NAMES[row]}\n"
        "hint: cxr pack CONFIG --update packs these images again and keeps the rest; is the disk well?"
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "rows.npz").unlink(),
        lambda folder: (folder / "rows.npz").write_bytes(b"PK"),
        lambda folder: (folder / "pixels.u8").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"source": "nih", '),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe"),
    ],
    ids=["no manifest", "no rows", "half of the rows", "no pixels", "half a manifest", "a list", "no text"],
)
def test_a_folder_that_is_no_whole_store_is_refused(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    (problem,) = problems_of(folder)
    assert problem.startswith("is no store of packed images: ")


def test_datasets_of_the_same_names_but_other_files_have_other_fingerprints(tmp_path: Path) -> None:
    for folder, text in (("a", "x"), ("b", "xx"), ("moved", "x")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.png").write_text(text)
    ours, other, moved = (fingerprint(tmp_path / folder, ["1.png"]) for folder in ("a", "b", "moved"))
    assert ours == moved != other
