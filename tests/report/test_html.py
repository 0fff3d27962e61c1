import base64
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fontTools.ttLib import TTFont
from PIL import Image

from cxr.config.render import render
from cxr.config.schema import Config, Eval
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.recalibration import fit
from cxr.evaluation.report import Report, score
from cxr.evaluation.thresholds import choose
from cxr.report.evaluation import write
from cxr.report.figures import draw as draw_pictures
from cxr.report.run_files import Training, read_training
from tests.helpers.predictions import draw_predictions

Draw = Callable[..., Predictions]
LOG = [
    {"kind": "step", "step": 1, "loss": 0.9, "lr": 0.1},
    {"kind": "train", "step": 2, "epoch": 1, "loss": 0.8},
    {"kind": "epoch", "step": 2, "epoch": 1, "val_loss": 0.7, "val_auroc": None},
    {"kind": "train", "step": 4, "epoch": 2, "loss": 0.6},
    {"kind": "epoch", "step": 4, "epoch": 2, "val_loss": 0.65, "val_auroc": 0.75},
]


class _Page(HTMLParser):
    """Every tag with its attributes, and whether tags are closed in the order they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def judged(draw: Draw) -> tuple[Report, Predictions]:
    predictions, val = draw(300), draw(200, split="val", seed=1)
    predictions.rows["sex"] = np.where(np.arange(300) // 3 % 2, "M", "F")
    about = {"run": "runs/<b>bold</b>", "model": "resnet18"}
    return score(
        predictions, choose(val, "f1"), about, config=Eval(draws=100), recalibration=fit(val)
    ), predictions


def run_folder(folder: Path) -> Path:
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    data = {"source": "table", "root": "data", "split": "random"}
    (folder / "config.yaml").write_text(render(Config.model_validate({"seed": 7, "data": data})))
    cells = [{"finding": "Mass", "positive": 3, "negative": 1200, "soft": 0, "masked": 2}]
    counts = {
        "images": {"train": 1205},
        "patients": {"train": 50},
        "dropped": {"no file": 4, "unreadable": 0},
    }
    (folder / "counts.json").write_text(json.dumps(counts | {"cells": {"train": cells}}))
    return folder


def page(draw: Draw, folder: Path, training: Training | None = None) -> str:
    report, predictions = judged(draw)
    write(report, predictions, predictions, folder, training)
    return text_of(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with its figures; not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    page(draw_predictions, folder)
    return folder


def text_of(folder: Path) -> str:
    return (folder / "report.html").read_text()


def test_the_page_is_whole_and_asks_no_network(folder: Path) -> None:
    text = text_of(folder)
    parsed = _Page(text)
    assert parsed.open == []
    sources = [attributes["src"] for attributes in parsed.all("img")]
    assert all(source and source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert not parsed.all("script")
    assert not parsed.all("link")
    assert not re.search(r"(url\(|@import|https?://)", text.partition("<body>")[0])


def test_every_picture_has_words_and_three_files(folder: Path) -> None:
    parsed = _Page(text_of(folder))
    alts = [attributes["alt"] for attributes in parsed.all("img")]
    assert len(alts) == 6
    assert all(alt and len(alt) > 40 for alt in alts)
    names = ["auroc", "decision_curve", "precision_recall", "reliability", "roc", "subgroups"]
    files = sorted(file.name for file in (folder / "figures").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in names for kind in ("pdf", "png", "svg"))
    for file in (folder / "figures").glob("*.svg"):
        ElementTree.parse(file)


def test_figures_have_the_width_of_two_columns_and_letters_that_can_be_printed(folder: Path) -> None:
    for file in (folder / "figures").glob("*.svg"):
        svg = file.read_text()
        width = re.search(r'<svg[^>]* width="([0-9.]+)pt"', svg)
        assert width and round(float(width[1]) / 72 * 25.4) in (89, 183)
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: ([0-9.]+)px", svg)]
        assert sizes and min(sizes) >= 7  # a pixel of the SVG is a point on paper
        assert "@font-face {font-family: 'DejaVu Sans'; src: url(data:font/woff;base64," in svg
        pdf = file.with_suffix(".pdf").read_bytes()
        assert b"/FontFile2" in pdf and b"/Type3" not in pdf
        with Image.open(file.with_suffix(".png")) as png:
            assert abs(png.info["dpi"][0] - 300) < 1
            assert round(png.width / 300 * 25.4) in (89, 183)


def test_letters_inside_an_svg_are_those_that_it_shows(folder: Path) -> None:
    svg = (folder / "figures" / "auroc.svg").read_text()
    font = re.search(r"base64,([A-Za-z0-9+/=]+)\)", svg)
    assert font
    with TTFont(io.BytesIO(base64.b64decode(font[1]))) as opened:
        known = {chr(code) for code in opened.getBestCmap()}
    assert set("HerniaAUROC0123456789") <= known and "Z" not in known


def test_captions_and_facts_of_the_page_are_in_sight(folder: Path) -> None:
    text = text_of(folder)
    assert "<figcaption><b>ROC curves</b>. Above each panel: AUROC (95 % interval)." in text
    assert "<dt>Model</dt><dd>resnet18</dd>" in text
    assert f"<dt>Date</dt><dd>{date.today().isoformat()}</dd>" in text
    assert re.search(r"<b>0\.\d{3}</b><small>0\.\d{3}-0\.\d{3}</small><span>mean AUROC</span>", text)


def test_tables_can_be_read_and_reached_without_a_mouse(folder: Path) -> None:
    parsed = _Page(text_of(folder))
    tables = parsed.all("table")
    assert len(parsed.all("caption")) == len(tables) >= 4
    regions = [attributes for attributes in parsed.all("div") if attributes.get("role") == "region"]
    assert len(regions) == len(tables)
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)
    assert {attributes.get("scope") for attributes in parsed.all("th")} == {"col", "row"}


def test_the_list_of_contents_leads_to_every_section(folder: Path) -> None:
    tags = _Page(text_of(folder)).tags
    places = {attributes["id"] for name, attributes in tags if name == "section" and "id" in attributes}
    links = [str(attributes["href"]) for name, attributes in tags if name == "a"]
    assert len(places) > 3 and {link[1:] for link in links if link.startswith("#")} == places


def test_what_users_wrote_is_text_and_never_markup(folder: Path) -> None:
    text = text_of(folder)
    assert "<b>bold</b>" not in text
    assert "runs/&lt;b&gt;bold&lt;/b&gt;" in text


def test_the_page_says_what_it_is_not(folder: Path) -> None:
    assert "Research tool, not a medical device." in text_of(folder)


@pytest.mark.figures
def test_the_run_brings_its_curves_counts_and_recipe(draw: Draw, tmp_path: Path) -> None:
    training = read_training(run_folder(tmp_path))
    assert training.history == (
        {"loss": 0.8, "val_loss": 0.7, "val_auroc": None},
        {"loss": 0.6, "val_loss": 0.65, "val_auroc": 0.75},
    )
    text = page(draw, tmp_path, training)
    assert "at the last of 2: loss 0.6000, validation loss 0.6500, validation AUROC 0.7500." in text
    assert "3 positive, 1,200 negative, 2 masked" in text
    assert "Left out: 4 no file." in text
    assert "seed: 7" in text


def test_a_folder_without_a_run_brings_nothing(tmp_path: Path) -> None:
    assert read_training(tmp_path) == Training()


def test_a_report_without_a_defined_figure_has_a_page(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(30, ("Mass",))
    predictions.y[:] = np.nan
    report = score(predictions, choose(predictions, "f1"), config=Eval(draws=100))
    write(report, predictions, predictions, tmp_path)
    assert "n/a, no image with a known label: Mass" in (tmp_path / "report.html").read_text()


def test_pictures_are_the_same_bytes_again(draw: Draw) -> None:
    report, predictions = judged(draw)
    first, second = draw_pictures(report, predictions), draw_pictures(report, predictions)
    assert [picture.svg for picture in first] == [picture.svg for picture in second]


@pytest.mark.parametrize("optimistic", [True, False])
def test_tuned_figures_are_marked(draw: Draw, tmp_path: Path, optimistic: bool) -> None:
    predictions = draw(60)
    own = choose(predictions if optimistic else draw(60, split="val"), "f1")
    report = score(predictions, own, config=Eval(interval="none"))
    write(report, predictions, predictions, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert ("metrics marked * are optimistic" in text) == optimistic
    assert bool(re.search(r"<td>0\.\d{3}\*</td>", text)) == optimistic
