"""Fonts where matplotlib is not installed."""

from pathlib import Path

import pytest

from cxr.report import font_files
from cxr.report.font_files import BUILT_IN, drawn_letters, find_font_files, open_font
from cxr.report.fonts import choose_font_files, letters_of

LETTERS = frozenset("aéЖβ胸\u0e01")


def test_letters_that_a_font_draws_are_those_of_its_table() -> None:
    (file, *_), _ = choose_font_files(["a"])
    assert drawn_letters(file, LETTERS) == letters_of(file, LETTERS) == frozenset("aéЖβ")


def test_pillows_own_font_writes_latin_letters() -> None:
    assert open_font(BUILT_IN, 20) is not None and "a" in drawn_letters(BUILT_IN, LETTERS)
    assert "胸" not in drawn_letters(BUILT_IN, LETTERS)


def test_fonts_are_found_in_folders_below_and_damaged_ones_have_no_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file, *_), _ = choose_font_files(["a"])
    (tmp_path / "truetype").mkdir()
    (tmp_path / "truetype" / "DejaVuSans.ttf").write_bytes(Path(file).read_bytes())
    (tmp_path / "Broken-Regular.ttf").write_text("no font")
    monkeypatch.setattr(font_files, "_folders", lambda: iter((tmp_path, tmp_path / "absent")))
    find_font_files.cache_clear()
    try:
        found = find_font_files()
    finally:
        find_font_files.cache_clear()
    assert set(found) == {"DejaVuSans", "Broken"}
    assert drawn_letters(found["Broken"], LETTERS) == frozenset()
