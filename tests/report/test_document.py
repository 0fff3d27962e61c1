"""The document model: one way to write a number, and text that is never markup in any writer."""

import io
import math
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from cxr.report import html, markdown, terminal
from cxr.report.document import (
    Cell,
    Code,
    Document,
    Estimate,
    Figure,
    Gallery,
    Items,
    KeyNumbers,
    Section,
    Table,
    Text,
    Thumbnail,
    format_cell,
)

NAME = '</td></p><script>alert("1")</script> *b* `c` [d](e) ```'
TABLE = Table(NAME, (NAME, NAME), ((NAME, NAME),), "lr", notes=(NAME,), num_summary=1, shades=((0.5,),))
PARTS = (
    Text(NAME, label=NAME),
    Items((NAME,), NAME, "note", notes=(NAME,), links=(NAME,)),
    KeyNumbers(((NAME, NAME),)),
    TABLE,
    Figure("roc", NAME, NAME, b"<svg/>"),
    Gallery(NAME, (Thumbnail(b"jpeg", NAME, NAME),)),
    Code(NAME),
    Section(NAME, (Section(NAME, (Text(NAME),), is_folded=True),)),
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("Mass", "Mass"),
        (1234567, "1,234,567"),
        (0.12345, "0.123"),
        (None, "n/a"),
        (math.nan, "n/a"),
        (Estimate(0.8125, 0.78, 0.84), "0.812 (0.780-0.840)"),
        (Estimate(0.8125, 0.78, 0.84, mark="*"), "0.812* (0.780-0.840)"),
        (Estimate(0.8125, math.nan, math.nan), "0.812"),
        (Estimate(0.012, -0.003, 0.027, signed=True), "+0.012 (-0.003 to +0.027)"),
        (Estimate(0.045, -0.121, 0.179, note="M over F"), "0.045 (-0.121 to 0.179), M over F"),
        (Estimate(1.23456, digits=4), "1.2346"),
        (Estimate(None, signed=True), "n/a"),
    ],
)
def test_a_cell_is_written_in_one_way(cell: Cell, text: str) -> None:
    assert format_cell(cell) == text


class _Tags(HTMLParser):
    """The tags of a page and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_no_text_is_markup_in_html() -> None:
    page = _Tags(html.render(Document(NAME, PARTS)))
    assert "script" not in page.tags
    assert sum(NAME in text for text in page.texts) >= 14


def test_no_text_is_markup_in_markdown() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown.render(Document(NAME, PARTS)))
    inner = {child.type for token in tokens for child in token.children or ()}
    assert inner <= {"text", "text_special", "strong_open", "strong_close", "image"}
    assert [token.content for token in tokens if token.type == "fence"] == [f"{NAME}\n"]
    assert not [token for token in tokens if token.type == "html_block"]


def test_an_empty_list_leaves_no_empty_frame() -> None:
    assert "ul" not in _Tags(html.render(Document("", (Items((), "Notes", "note"),)))).tags


def shown(table: Table, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(terminal.render(table))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_narrow_terminal_moves_intervals_below_their_numbers() -> None:
    table = Table("", ("Finding", "AUROC", "F1"), (("Mass", Estimate(0.8, 0.7, 0.9), 0.5),), "lrr")
    assert shown(table, 40)[2:] == ["Mass     0.800 (0.700-0.900)  0.500"]
    assert shown(table, 28)[2:] == ["Mass            0.800 0.500", "        (0.700-0.900)"]


def test_no_letter_is_lost_on_a_terminal_that_is_too_narrow_for_the_numbers() -> None:
    table = Table("", ("Finding", "AUROC"), (("Cardiomegaly", Estimate(0.8, 0.7, 0.9)),), "lr")
    letters = "".join(shown(table, 12)).replace(" ", "").partition("─")[2]
    assert sorted(letters.replace("─", "")) == sorted("Cardiomegaly0.800(0.700-0.900)")
