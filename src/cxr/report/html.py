"""Documents as one HTML page that opens from the disk and asks no network."""

import base64
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cxr.report.document import (
    Document,
    Part,
    Section,
    Table,
    format_cell,
    format_interval,
    format_note,
    format_number,
)
from cxr.text import DISCLAIMER, visible, visible_lines

_MAX_NARROW = 5
"""Columns of a table that may stand beside another one."""


def render(document: Document) -> str:
    """The page; whatever is in it is text, as names of files and labels are not ours."""
    environment = Environment(
        loader=PackageLoader("cxr.report"),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name is an error, not an empty cell
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )
    environment.filters |= {
        "with_sections": _number_sections,
        "kind": lambda part: type(part).__name__,
        "is_full": _is_full,
        "cell": format_cell,
        "number": format_number,
        "interval": format_interval,
        "note": format_note,
        "base64": _base64,
        "breakable": _breakable,
        "lines": lambda text: Markup.escape(visible_lines(text)),
    }
    return environment.get_template("page.html").render(document=document, disclaimer=DISCLAIMER)


def _number_sections(parts: Sequence[Part]) -> list[tuple[int, Section]]:
    """(place among the parts from 1, section), of those that the list of contents names."""
    return [
        (place, part)
        for place, part in enumerate(parts, 1)
        if isinstance(part, Section) and not part.is_folded
    ]


def _is_full(table: Table) -> bool:
    """Whether a table takes the whole width; narrow ones stand side by side."""
    return not table.shades and (len(table.columns) > _MAX_NARROW or "r" not in table.align)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _show(value: object) -> object:
    """What a page shows of a value: escapes stand for what is invisible or turns the direction of writing."""
    if not isinstance(value, str):
        return value
    # Markup was made here; its escapes must not be escaped once more
    return Markup(visible_lines(value)) if isinstance(value, Markup) else visible(value)


def _breakable(path: str) -> Markup:
    """A path that a narrow column may break after its folders."""
    return Markup("/<wbr>").join(visible(path).split("/"))
