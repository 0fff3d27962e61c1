import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import CxrError
from cxr.labels.sheet import read_sheet

CELL = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs", "Cc")), max_size=8)


@given(
    st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_dialect_reads_as_the_csv_module_wrote_it(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    encoding: str,
    zipped: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("image", "patient_id", "Mass"), *rows])
    path = tmp_path_factory.mktemp("sheet") / "x.csv"
    data = text.getvalue().encode(encoding)
    path.write_bytes(gzip.compress(data) if zipped else data)
    sheet = read_sheet(path)
    assert sheet.header == ("image", "patient_id", "Mass") and sheet.cells == [
        cell for row in rows for cell in row
    ]
    assert sheet.lines == list(range(2, len(rows) + 2))


def error_of(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(CxrError) as error:
        read_sheet(path)
    return error.value.render().replace(f"{path}", "x.csv")


def test_latin_text_is_read_and_said_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes("image,patient\na.png,p1\nb.png,Müller\n".encode("latin-1"))
    assert read_sheet(path).column("patient") == ["p1", "Müller"]
    assert f"{path}:3: not UTF-8, read as Windows-1252" in capsys.readouterr().err.replace("\n", "")


def test_damaged_utf8_is_not_taken_for_latin(tmp_path: Path) -> None:
    text = error_of(tmp_path / "x.csv", "image,patient\na.png,Müller\n".encode() + b"b.png,M\xfcller\n")
    assert text.startswith("error: x.csv:3: not a readable CSV file (byte 0xfc is not UTF-8)")


def test_a_separator_too_many_is_forgiven_and_other_lengths_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2,\n3,4, ,\n")
    assert read_sheet(path).cells == ["1", "2", "3", "4"]
    text = error_of(path, b"a;b\n1;2\n1;2;3\n")
    assert text.startswith(
        "error: x.csv:3: 3 cells where the header has 2 (separated by semicolons)\nhint: put cells"
    )
    assert "the file may be cut off" in error_of(path, b"a,b\n1,2\n1\n")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PK\x03\x04rest", "x.csv: is an Excel or zip file, not a CSV file"),
        (b"0 x0.png positive rsna\n1 x1.png negative cohen\n", "its cells seem to be separated by blanks"),
        (b"image|patient|Mass\na|1|1\n", "its cells seem to be separated by bars"),
        (b"", "x.csv: no rows"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(tmp_path: Path, content: bytes, what: str) -> None:
    assert what in error_of(tmp_path / "x.csv", content)


def test_decimal_commas_are_numbers_where_commas_do_not_separate(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('sep=;\nimage;p\na;0,83\nb;1,5e-3\nc;"a,b"\n')
    sheet = read_sheet(path)
    assert sheet.numbers("p") == ["0.83", "1.5e-3", "a,b"] and sheet.lines == [3, 4, 5]
