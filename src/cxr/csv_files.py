"""CSV files of a report: exact cells, and a warning where a spreadsheet would take some for formulas."""

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd

from cxr.console import count, warn
from cxr.files import write_text
from cxr.text import quote


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV that gives back the very cells (RFC 4180)."""
    text = str(table.to_csv(index=False, lineterminator="\n"))
    if "\r" in text:  # pandas quotes a carriage return only where lines end in it
        return str(table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC))
    return text


def write_tables(folder: Path, tables: Mapping[str, pd.DataFrame], private: Collection[str] = ()) -> None:
    """Write each table into a file of its name, atomically; names stay exact, so formulas are only warned of.

    Those named in `private` may be read by their owner alone.

    Raises:
        CxrError: The disk is full or the folder cannot be written.
    """
    for name, table in tables.items():
        write_text(folder / name, csv_text(table), private=name in private)
    formulas = dict.fromkeys(cell for table in tables.values() for cell in _formulas(table))
    if formulas:
        some = f"{count(len(formulas), 'cell')} such as {quote(next(iter(formulas)))}"
        warn(
            f"{folder}: a spreadsheet takes {some} in the CSV files for formulas: "
            "import their columns as text"
        )


def _formulas(table: pd.DataFrame) -> list[str]:
    """The texts of a table, its headings among them, that begin as a formula does."""
    columns = [table[name] for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    texts = pd.concat(
        [pd.Series([str(name) for name in table.columns]), *(column.drop_duplicates() for column in columns)]
    )
    return [text for text in texts if isinstance(text, str) and len(text) > 1 and text[0] in "=+-@\t\r"]
