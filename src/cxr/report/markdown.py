"""Documents as Markdown pages, in which no cell or name is ever markup."""

import re

from cxr.report.document import (
    Code,
    Document,
    Figure,
    Gallery,
    Items,
    KeyNumbers,
    Part,
    Section,
    Table,
    Text,
    format_cell,
)
from cxr.text import DISCLAIMER, markdown, visible_lines


def render(document: Document) -> str:
    """The page; figures are links to the files beside it."""
    blocks = [f"# {markdown(document.title)}"]
    if document.facts:
        blocks.append("\n".join(f"- {markdown(name)}: {markdown(value)}" for name, value in document.facts))
    for part in document.parts:
        blocks += _render_part(part, level=2)
    return "\n\n".join([*blocks, DISCLAIMER]) + "\n"


def _render_part(part: Part, level: int) -> list[str]:
    """Blocks of lines, to be separated by empty lines."""
    match part:
        case Text():
            label = f"**{markdown(part.label)}:** " if part.label else ""
            return [label + markdown(part.text)]
        case Items():
            return ["\n".join(f"- {markdown(item)}" for item in part.items)] if part.items else []
        case KeyNumbers():
            pairs = [f"- {markdown(label)}: {markdown(format_cell(cell))}" for label, cell in part.numbers]
            return ["\n".join(pairs)]
        case Table():
            caption = [f"{markdown(part.title)}:"] if part.title else []
            return [*caption, render_table(part), *map(markdown, part.notes)]
        case Figure():
            caption = [f"{markdown(part.title)}. {markdown(part.caption)}"] if part.caption else []
            return [f"![{markdown(part.alt)}](figures/{part.name}.svg)", *caption]
        case Code():
            return [_fence(part.text)]
        case Section():
            heading = f"{'#' * level} {markdown(part.title)}"
            return [heading, *(block for inner in part.parts for block in _render_part(inner, level + 1))]
        case Gallery():  # a text file has no images
            return []


def render_table(table: Table) -> str:
    """A table without its caption and notes."""
    rows = [
        [markdown(heading) for heading in table.columns],
        ["---:" if side == "r" else "---" for side in table.align],
    ]
    for place, row in enumerate(table.rows):
        cells = [markdown(format_cell(cell)) for cell in row]
        if table.is_bold(place):  # stars around nothing would be shown
            cells = [f"**{cell}**" if cell else "" for cell in cells]
        rows.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _fence(text: str) -> str:
    """Lines as they are, between fences that are longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{visible_lines(text).rstrip()}\n{fence}"
