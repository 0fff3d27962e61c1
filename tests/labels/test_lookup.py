import unicodedata
from pathlib import Path

import pytest

from cxr.labels.lookup import find_files, say_nearest
from tests.helpers.fakes import write_lines

NAMES = (
    "im/a.png",
    "im/b.png",
    "im/c d.png",
    "other/e.dcm",
    "1.2.840.5",
    unicodedata.normalize("NFD", "Müller.png"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in NAMES:
        write_lines(tmp_path / name, [name])
    return tmp_path


@pytest.mark.parametrize(
    ("image", "path"),
    [
        ("im/a.png", "im/a.png"),
        (" im/a.png ", "im/a.png"),
        ("./im/a.png", "./im/a.png"),
        ("im/c\u00a0d.png", "im/c d.png"),
        ("im/a", "im/a.png"),
        ("a.png", "im/a.png"),
        ("e", "other/e.dcm"),
        ("1.2.840.5", "1.2.840.5"),
        ("Müller.png", NAMES[-1]),
        ("im/A.png", ""),
        ("im/a.jpg", ""),
        ("elsewhere/a.png", ""),
    ],
)
def test_a_file_is_found_by_the_first_rule_that_finds_one(root: Path, image: str, path: str) -> None:
    assert find_files(root, [image])[0] == [path]


def test_a_name_that_two_files_may_have_finds_neither(root: Path) -> None:
    write_lines(root / "other/a.png", ["another"])
    write_lines(root / "im/a.jpg", ["another"])
    assert find_files(root, ["a.png", "im/a", "a"])[0] == ["", "", ""]


def test_looser_rules_are_said_with_an_example(root: Path) -> None:
    assert find_files(root, ["a.png", "b.png", "im/a"])[1] == [
        "1 image file found with an ending, such as im/a.png for im/a",
        "2 image files found in a folder below, such as im/a.png for a.png",
    ]


@pytest.mark.parametrize(
    ("image", "near"),
    [
        ("IM/A.PNG", "for IM/A.PNG there is im/a.png (other case)"),
        ("im/a.jpg", "for im/a.jpg there is im/a.png (another ending)"),
        ("elsewhere/a.png", "for elsewhere/a.png there is im/a.png (another folder)"),
        ("C:/data/im/a.png", "for C:/data/im/a.png there is im/a.png (without C:/data/)"),
        ("nothing.png", ""),
    ],
)
def test_the_nearest_file_is_said(root: Path, image: str, near: str) -> None:
    assert say_nearest(root, [image]) == near
