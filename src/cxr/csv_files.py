"""CSV files of a report: exact cells, and a warning where a spreadsheet takes a cell for a formula."""

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from cxr.console import count, warn
from cxr.files import write_text
from cxr.replace import refuse_kept
from cxr.text import quote

_FORMULA_STARTS = "=+-@\t\r"


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV that gives back the very cells (RFC 4180)."""
    text = str(table.to_csv(index=False, lineterminator="\n"))
    if "\r" in text:  # pandas quotes a carriage return only where lines end in one
        return str(table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC))
    return text


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame], private: Collection[str] = ()) -> None:
    """Write each table into a file of its name, atomically; cells stay exact, a formula causes a warning.

    Those named in `private` may be read by their owner alone.

    Raises:
        CxrError: The disk is full, the folder cannot be written, or the running command reads a file of
            these names there; no table is written then.
    """
    for name in tables:
        refuse_kept(folder / name)
    for name, table in tables.items():
        write_text(folder / name, csv_text(table), private=name in private)
    # told and not changed: a cell that is changed is another name of a finding or an image
    formulas = list(dict.fromkeys(cell for table in tables.values() for cell in _find_formulas(table)))
    if formulas:
        cells = f"{count(len(formulas), 'cell')} such as {quote(formulas[0])}"
        problem = f"a spreadsheet takes {cells} in the CSV files for formulas"
        warn(f"{folder}: {problem}: import their columns as text")


def _find_formulas(table: pd.DataFrame) -> list[str]:
    """The texts of a table, its headings among them, that begin as a formula does."""
    texts = [str(name) for name in table.columns]
    for name in table.columns:
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column):
            # each text once: columns of findings repeat a few of them
            texts.extend(text for text in column.drop_duplicates() if isinstance(text, str))
    return [text for text in texts if len(text) > 1 and text[0] in _FORMULA_STARTS]
