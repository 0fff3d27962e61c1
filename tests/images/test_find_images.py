"""Files below a folder, whatever their names, and links that lead round in circles."""

import gzip
import io
import os
import socket
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxr.explain.overlay_png import encode_png
from cxr.images.find_images import find_images
from cxr.images.kinds import may_be_image
from tests.helpers.dicoms import make_dicom, to_bytes
from tests.helpers.powers import without_roots_powers

GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)
PNG = cv2.imencode(".png", GREY)[1].tobytes()
DICOM = to_bytes(make_dicom(GREY, 8))
BARE = to_bytes(make_dicom(GREY, 8), preamble=False)


def found(folder: Path) -> dict[str, str]:
    """What each path below a folder is, in the order in which they come."""
    return {str(found.path.relative_to(folder)): found.kind for found in find_images(folder)}


def write(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def packed(name: str) -> bytes:
    """A ZIP archive of an empty file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "")
    return file.getvalue()


@pytest.mark.parametrize(
    "name", ["IM0001", "1.2.840.113619", "x.IMA", "x.jfif", "x.txtx", ".hidden", "x.png", "x.dcm"]
)
@pytest.mark.parametrize("data", [PNG, DICOM, BARE], ids=["png", "dicom", "without preamble"])
def test_content_decides_whatever_the_name(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert found(tmp_path) == {name: "image"}


@pytest.mark.parametrize(
    ("name", "data", "what"),
    [
        ("notes.txt", b"text", "other"), ("README", b"text", "other"), (".DS_Store", b"\0\0\0\1Bud1", "other"),
        ("empty", b"", "other"), ("empty.png", b"", "image"), ("text.jpg", b"text", "image"),
        ("x.webp", b"RIFF1234WEBPVP8 ", "image"), ("noname", b"RIFF1234WEBPVP8 ", "image"), ("s", b"GIF89a", "image"),
        ("._x.png", b"\0\x05\x16\x07" + bytes(99), "other"), ("._y.png", PNG, "image"), ("a.zip", b"PK\3\4", "other"),
        ("report", b"%PDF-1.7", "other"), ("scan.dcm", b"PK\3\4", "image"), ("labels.csv", b"image,Mass\n", "other"),
        ("a.txt", PNG, "image"), ("x.json", DICOM, "image"), ("x.png.gz", gzip.compress(b"?", mtime=0), "image"),
        ("IM0001", gzip.compress(DICOM, mtime=0), "image"), ("1.dcm.bz2", b"BZh91AY", "image"),
        ("notes.gz", gzip.compress(b"text", mtime=0), "other"),
        ("a.zip", packed("x/IM1.dcm"), "image"), ("b.zip", packed("notes.txt"), "other"),
        ("a.xlsx", packed("a.png"), "other"),
        ("JPCLN001.IMG", bytes(4096), "image"), ("drawn.png", encode_png(np.zeros((9, 9, 3), np.uint8)), "overlay"),
        ("zeros", bytes(4096), "other"), ("dicm", bytes(128) + b"DICM" + bytes(400), "other"),
    ],
)  # fmt: skip
def test_what_might_be_an_image_is_not_passed_over(tmp_path: Path, name: str, data: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(data)
    assert found(tmp_path) == {name: what}


def test_files_come_in_the_order_of_their_names_and_links_last(tmp_path: Path) -> None:
    write(tmp_path / "a", x=PNG, b__y=PNG, c=PNG)
    write(tmp_path / "elsewhere", z=PNG)
    (tmp_path / "a" / "aa").symlink_to("../elsewhere")
    (tmp_path / "a" / "ab").symlink_to("../elsewhere/z")
    assert list(found(tmp_path / "a").items()) == [
        ("b/y", "image"), ("c", "image"), ("x", "image"), ("aa/z", "image"), ("ab", "again")
    ]  # fmt: skip


def test_no_circle_of_links_is_endless_and_no_file_is_found_twice(tmp_path: Path) -> None:
    folder = write(tmp_path / "here", x=PNG, sub__y=PNG)
    write(tmp_path, beside=PNG)
    links = {
        "up": "..",
        "self": ".",
        "sub/back": "../sub",
        "sub/root": "../..",
        "circle": "circle",
        "x2": "x",
        "s2": "sub",
    }
    for name, to in links.items():
        (folder / name).symlink_to(to)
    os.link(folder / "x", folder / "x3")
    assert found(folder) == {
        "sub/y": "image",
        "x": "image",
        "x3": "again",
        "circle": "unreadable",
    } | dict.fromkeys(["self", "sub/back", "x2", "s2"], "again") | dict.fromkeys(["up", "sub/root"], "above")


def test_links_that_lead_nowhere_are_named_unless_no_image_could_be_there(tmp_path: Path) -> None:
    for name in ("IM1", "x.png", "notes.txt"):
        (tmp_path / name).symlink_to("gone")
    assert found(tmp_path) == {"IM1": "unreadable", "x.png": "unreadable", "notes.txt": "other"}
    assert {one.reason for one in find_images(tmp_path)} == {"No such file or directory", ""}


def test_pipes_and_sockets_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path has at most 108 letters
        server.bind("socket")
        assert found(tmp_path) == {"pipe": "other", "pipe.png": "image", "socket": "other", "zero": "other"}


def test_folders_and_files_that_are_locked_are_named(tmp_path: Path) -> None:
    write(tmp_path, locked__x=PNG, unread=PNG, notes=b"text")
    (tmp_path / "locked").chmod(0)
    (tmp_path / "unread").chmod(0)
    with without_roots_powers():
        assert found(tmp_path) == {"locked": "unreadable", "notes": "other", "unread": "unreadable"}
    (tmp_path / "locked").chmod(0o755)


def test_a_deep_folder_does_no_harm(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(100):
        deep /= "d" * 30
    os.makedirs(deep)
    (deep / "x").write_bytes(PNG)
    assert list(found(tmp_path).values()) == ["image"]


def test_names_that_are_no_text_are_found(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff\xfe.png")).write_bytes(PNG)
    assert list(found(tmp_path).values()) == ["image"]


def test_a_short_file_is_no_dicom() -> None:
    for length in range(1, 20):
        assert not may_be_image(BARE[:length], "IM0001")
