"""Tables and paragraphs as LaTeX, in which no text is ever a command."""

from collections.abc import Sequence

from cxr.report.document import Table, format_cell
from cxr.text import visible

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "[": "{[}",  # behind a line's end a bracket would be its argument
    "]": "{]}",
}
_HEAD = "% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}.\n"


def escape(text: str) -> str:
    """The text as LaTeX that prints it as it is, on one line."""
    return "".join(_ESCAPES.get(letter, letter) for letter in visible(text))


def render_table(table: Table) -> str:
    """A floating table with its caption and notes."""
    lines = [" & ".join(map(escape, table.columns)) + r" \\", r"\midrule"]
    lines += [" & ".join(escape(format_cell(cell)) for cell in row) + r" \\" for row in table.rows]
    notes = "".join(f"\n\n\\smallskip {escape(note)}" for note in table.notes)
    body = "\n".join(lines)
    return (
        f"{_HEAD}\\begin{{table}}\n\\caption{{{escape(table.title)}}}\n\\begin{{tabular}}{{{table.align}}}\n"
        f"\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}{notes}\n\\end{{table}}\n"
    )


def render_paragraphs(
    paragraphs: Sequence[tuple[str, str]], references: Sequence[tuple[str, str]] = ()
) -> str:
    """Paragraphs with their headings; ` [key; key]` of the references becomes a citation."""
    text = "\n\n".join(
        f"\\paragraph{{{escape(heading)}}} {_cite(body, references)}" for heading, body in paragraphs
    )
    if not references:
        return f"{text}\n"
    items = "\n".join(f"\\bibitem{{{key}}} {escape(reference)}" for key, reference in references)
    return f"{text}\n\n\\begin{{thebibliography}}{{{len(references)}}}\n{items}\n\\end{{thebibliography}}\n"


def _cite(text: str, references: Sequence[tuple[str, str]]) -> str:
    escaped = escape(text)
    for key, _ in references:
        # after escaping, by which the brackets of a key have become {[} and {]}
        escaped = escaped.replace(f" {{[}}{key}{{]}}", f"~\\cite{{{key}}}")
    return escaped
