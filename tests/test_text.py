"""Text of anybody: seen as it is, and without effect."""

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cxr.errors import CxrError
from cxr.report.document import Table
from cxr.report.markdown import render_table
from cxr.text import csv_line, json_text, short_name, shorten, shorten_all, visible, visible_lines, width

ANY = st.text(st.characters(exclude_categories=()), max_size=40)
"""Half surrogate pairs too, as names of files that are no UTF-8 have."""
HOSTILE = ("\x1b[2J", "\x1b]0;PWN\x07", "a\r\nerror: fake", "\x9b2J", "\u202egnp.exe", "\u2028", "\udcff\udc80",
           "\ufeffa", "a\u200bb", "\u2066x", "\x00\x7f", "\ufffe", "a" + "\u0301" * 50)  # fmt: skip
HARMLESS = "Pleural_Thickening Größe 心脏扩大 انصباب क्षय ไม่พบ ❤️ 👩\u200d⚕️ é́ 日\u3000本 m\u200cn"
TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")


def acts_or_hides(letter: str) -> bool:
    return (
        unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(letter) in TURNS
    )


@given(ANY)
def test_what_is_visible_cannot_act_and_is_encodable(text: str) -> None:
    shown = visible(text)
    assert not any(map(acts_or_hides, shown))
    assert visible(shown.encode().decode()) == shown


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))))
@example(HARMLESS)
def test_letters_of_every_script_stay(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_what_would_act_or_hide_becomes_an_escape(text: str) -> None:
    assert visible(text).isprintable()
    assert "\\" in visible(text)


def test_bytes_of_a_file_name_are_shown_as_bytes() -> None:
    assert visible(b"\xff\xfe.png".decode(errors="surrogateescape")) == "\\xff\\xfe.png"
    assert visible("\x1b\u202e\U000e0041") == "\\x1b\\u202e\\U000e0041"
    assert visible_lines("a\n\x1b") == "a\n\\x1b"


@given(ANY, st.integers(12, 60))
def test_a_shortened_text_fits_and_a_short_one_stays(text: str, columns: int) -> None:
    assert width(shorten(text, columns)) <= columns
    assert shorten(text, columns) == text or width(text) > columns


@given(st.lists(ANY, unique_by=visible, max_size=6))
def test_names_that_differ_still_differ_when_they_are_shortened(names: list[str]) -> None:
    long = [f"{'x' * 40}{name}{'y' * 40}" for name in names]
    assert len(set(shorten_all(long, 24))) == len(long)
    assert all(width(name) <= 24 for name in shorten_all(long, 24))


@given(st.text(min_size=30, max_size=300))
def test_a_long_file_name_is_cut_and_keeps_its_identity(name: str) -> None:
    assert len(short_name(name).encode()) <= 200
    assert short_name(name) == name or short_name(name) != short_name(name + "x")


@given(st.lists(ANY, min_size=1, max_size=4))
@example(["a\rb", '"', "=cmd|calc", ""])
def test_a_csv_line_gives_back_its_cells(cells: list[str]) -> None:
    line = csv_line(cells)
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [cells]


@given(st.dictionaries(ANY, ANY | st.floats(allow_nan=False, allow_infinity=False), max_size=3))
def test_json_is_exact_and_visible(document: dict[str, object]) -> None:
    text = json_text(document, 1)
    assert json.loads(text) == document
    assert visible_lines(text) == text


@given(st.text(max_size=30))
@example("<script>alert(1)</script>&lt;")
@example("a|b `c` *d* _e_ [f](g) ![h](i) ~~j~~ \\ # k")
@example("- 1. > x\n---")
def test_a_name_is_text_in_a_markdown_table(name: str) -> None:
    tokens = (
        MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
        .parse(render_table(Table("", (name,), ((name,),), "l")))
    )
    inline = [token for token in tokens if token.type == "inline"]
    assert len(inline) == 2
    for token in inline:
        assert {child.type for child in token.children or ()} <= {"text", "text_special"}
        # a table's cell has no blanks at its ends
        assert "".join(child.content for child in token.children or ()) == visible(name).strip()


def test_a_problem_cannot_fake_another_nor_flood_the_screen() -> None:
    error = CxrError(["a\nerror: fake\x1b[2J", "b" * 10**6, *("c" for _ in range(10**5))], "do\r\nthis")
    lines = error.render().splitlines()
    assert lines[0] == "error: a\\nerror: fake\\x1b[2J"
    assert len(lines[1]) == 1_000
    assert lines[-2:] == ["error: and 99,902 more", "hint: do\\r\\nthis"]
