"""One overlay for each image and finding, whatever their names."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.deploy.overlay_names import OverlayNames

FOLDER = Path("overlays")
LONGEST = 255 - len(".") - len(".1234567.tmp")  # a temporary file stands beside it while it is written


def chosen(*pairs: tuple[str, str]) -> list[str]:
    names = OverlayNames(FOLDER)
    return [names.choose(Path(image), finding)[0].name for image, finding in pairs]


@pytest.mark.parametrize(
    ("image", "finding", "name"),
    [
        ("a/chest.png", "Mass", "chest_Mass.png"),
        ("胸部X線.dcm", "Pleural Effusion", "胸部X線_Pleural_Effusion.png"),
        ("Röntgen [1].png", "PICC+", "Röntgen [1]_PICC+.png"),
        ("1.2.840.113619", "A|B", "1.2.840_A_B.png"),
        ("x.png", "<b>Mass</b>", "x__b_Mass_b_.png"),
        (".hidden.png", "../../etc", "_hidden__._.._etc.png"),
        ("line\nbreak\x1b[2J.png", "M\u202eass", "line_break_[2J_M_ass.png"),
    ],
)
def test_names_stay_readable(image: str, finding: str, name: str) -> None:
    assert chosen((image, finding)) == [name]


def test_findings_and_images_that_become_equal_are_numbered() -> None:
    assert chosen(("x.png", "A|B"), ("x.png", "A/B"), ("x.png", "a b")) == [
        "x_A_B.png",
        "x_A_B-2.png",
        "x_a_b-3.png",
    ]
    assert chosen(("a/x.png", "M"), ("b/x.png", "M"), ("c/X.dcm", "M")) == [
        "x_M.png",
        "x-2_M.png",
        "X-3_M.png",
    ]
    assert chosen(("a.png", "b_c"), ("a_b.png", "c")) == ["a_b_c.png", "a_b_c-2.png"]


def test_a_pair_keeps_its_name() -> None:
    assert chosen(("x.png", "PICC+"), ("x.png", "PICC-"), ("x.png", "PICC+")) == [
        "x_PICC+.png", "x_PICC-.png", "x_PICC+.png"
    ]  # fmt: skip


@given(
    st.lists(
        st.tuples(st.text(min_size=1).filter(lambda text: Path(text).stem), st.text()),
        min_size=2,
        unique=True,
    )
)
def test_no_two_pairs_share_a_file_on_any_file_system(pairs: list[tuple[str, str]]) -> None:
    pairs = [
        (f"{number}/{image.replace('/', '')}x", finding) for number, (image, finding) in enumerate(pairs)
    ]
    names = chosen(*pairs)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(pairs)
    for name in names:
        assert len(name.encode()) <= LONGEST
        assert not set(name) & set('/\\:*?"<>|\n\0')


def test_long_names_are_shortened_and_stay_apart() -> None:
    first, second = chosen(("x" * 240 + ".png", "M" * 300), ("x" * 240 + ".dcm", "M" * 299 + "N"))
    assert first != second
    assert first.startswith("x" * 50)
    assert max(len(first), len(second)) < 220
    wide = chosen(("胸" * 80 + ".png", "Mass"))[0]
    assert len(wide.encode()) <= LONGEST
    assert wide.startswith("胸" * 20)
