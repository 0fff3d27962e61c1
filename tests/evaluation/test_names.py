"""A report on findings and groups of any name: exact in files, text in pages, names in figures."""

import csv
import io
import json
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxr.config.schema import Eval
from cxr.csv_files import csv_text
from cxr.evaluation.predictions import Predictions, as_table, read, write
from cxr.evaluation.report import Report, score
from cxr.evaluation.thresholds import fixed
from cxr.fields.identity import normalise_images
from cxr.findings import canonical
from cxr.images.kinds import PNG
from cxr.report import evaluation, fonts
from cxr.report.figures import draw as draw_figures
from cxr.text import visible, visible_lines
from tests.helpers.predictions import draw_predictions

pytestmark = pytest.mark.figures

Draw = Callable[..., Predictions]
NAMES = ("$\\frac$", "a$^{$b", "_hidden", "心脏扩大", "\x1b[2J\u202eabc", "<script>&'\"", "A|B `c`", "[red]PTX[/red]",
         "=cmd|calc", "x" * 300, "x" * 150 + "y" + "x" * 149)  # fmt: skip


def scored(draw: Draw, names: tuple[str, ...]) -> tuple[Report, Predictions]:
    predictions = draw(90, names)
    rows = np.arange(90) // 3 % 2
    predictions.rows["view"] = np.where(rows, "AP $x^$ <b>", "\x9b[/bed]")
    return score(predictions, fixed(names), {"run": "[bold]x"}, config=Eval(interval="none")), predictions


class _Text(HTMLParser):
    """Every text of a page, entities resolved, and every tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report on NAMES, drawn with every warning an error."""
    folder = tmp_path_factory.mktemp("names")
    report, predictions = scored(draw_predictions, NAMES)
    evaluation.write(report, predictions, predictions, folder)
    return folder


def test_csv_and_json_hold_the_very_names(folder: Path) -> None:
    for name in ("metrics.csv", "reliability.csv"):
        rows = csv.DictReader(io.StringIO((folder / name).read_bytes().decode(), newline=""))
        assert set(NAMES) <= {row["finding"] for row in rows}
    report = json.loads((folder / "report.json").read_text())
    assert tuple(row["finding"] for row in report["metrics"]) == NAMES


def test_pages_show_the_names_as_text(folder: Path) -> None:
    page = _Text((folder / "report.html").read_text())
    assert {visible(name) for name in NAMES} <= set(page.texts)
    assert not page.tags & {"script", "b["}
    for name in ("report.html", "report.md", "report.json"):
        text = (folder / name).read_text()
        assert visible_lines(text) == text, name


def test_figures_show_the_names_as_they_are_or_shortened(folder: Path) -> None:
    texts = ["".join(node.itertext()) for node in ElementTree.parse(folder / "figures" / "auroc.svg").iter()
             if node.tag.endswith("}text")]  # fmt: skip
    short = [visible(name) for name in NAMES if len(name) < 40]
    assert set(short) <= set(texts)
    assert sum(bool(re.fullmatch(r"x+…x+( #11)?", text)) for text in texts) == 2


def test_the_name_of_a_formula_is_warned_of_once(
    draw: Draw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, predictions = scored(draw, ("=cmd|calc", "Mass"))
    evaluation.write(report, predictions, predictions, tmp_path)
    line = "a spreadsheet takes 1 cell such as '=cmd|calc' in the CSV files for formulas: import their columns as text"
    assert capsys.readouterr().err == f"warning: {tmp_path}: {line}\n"


def test_letters_that_no_font_has_are_one_line(
    draw: Draw, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda: iter(()))
    fonts._choose.cache_clear()
    report, predictions = scored(draw, ("心脏扩大", "🫁"))
    draw_figures(report, predictions)
    said = capsys.readouterr().err
    assert said == ("warning: figures: no installed font has 大 心 扩 脏 🫁: PNG and PDF files show boxes; "
                    "SVG files and the page show the names\n")  # fmt: skip
    fonts._choose.cache_clear()


def test_a_font_that_has_the_letters_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"One": set("心é"), "Two": set("é"), "Three": set("脏")}
    monkeypatch.setattr(fonts, "_installed", lambda: ((name, name) for name in have))
    monkeypatch.setattr(fonts, "letters_of", lambda path, letters: letters & have[path])
    fonts._choose.cache_clear()
    assert fonts.choose_fonts(["心脏", "a\u0301\u200d"]) == (["sans-serif", "One", "Three"], "")
    assert fonts.choose_fonts(["abc"]) == (["sans-serif"], "")
    fonts._choose.cache_clear()


# no reader lets a NUL through, and NumPy cuts it off the end of a text
ANY_NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=60)


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(ANY_NAMES.filter(str.strip), min_size=2, max_size=2, unique=True))
def test_figures_of_any_name_are_drawn_without_a_warning(names: list[str], draw: Draw) -> None:
    report, predictions = scored(draw, tuple(names))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = draw_figures(report, predictions)
    assert {"auroc", "roc", "reliability"} <= {figure.name for figure in figures}
    for figure in figures:
        assert ElementTree.fromstring(figure.svg).tag.endswith("}svg")
        assert figure.png.startswith(PNG)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20),
    image=st.text(max_size=20),
)
def test_predictions_are_read_back_exactly(name: str, image: str, draw: Draw, tmp_path: Path) -> None:
    predictions = draw(6, (canonical(f"x{name}x"),))  # as every reader writes names and ids
    predictions.rows.loc[0, "image"] = normalise_images([f"x{image}x"])[0]
    write(predictions, tmp_path / "p.csv")
    again = read(tmp_path / "p.csv")
    assert (again.findings, again.rows["image"][0]) == (predictions.findings, predictions.rows["image"][0])
    assert csv_text(as_table(again)) == csv_text(as_table(predictions))
