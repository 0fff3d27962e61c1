"""A model card says what its run knows, and names what it does not."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from cxr.checklist.card import render
from cxr.checklist.facts import Facts
from cxr.checklist.gather import gather
from tests.helpers.commands import call


@pytest.fixture(scope="module")
def facts(run: Path) -> Facts:
    """Of a run of two steps that was evaluated."""
    assert call("eval", run, "eval.draws=100", "--examples", "0") == 0
    return gather(run)


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """(what Hugging Face reads, the page)."""
    _, head, body = text.split("---\n", 2)
    return yaml.safe_load(head), body


def test_the_folder_holds_the_card_and_the_very_weights(
    facts: Facts, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", run, "--out", tmp_path / "share") == 0
    said = capsys.readouterr()
    assert said.out == f"card: {tmp_path / 'share' / 'README.md'}\n"
    assert "whether best.safetensors may be shared: it holds hashes of" in said.err
    weights = (tmp_path / "share" / "best.safetensors").read_bytes()
    assert weights == (run / "best.safetensors").read_bytes()
    head, body = split_card((tmp_path / "share" / "README.md").read_text())
    assert (head["library_name"], head["license"]) == ("cxr", "unknown")
    assert facts.sha256 in body
    assert "not a medical device" in body
    assert "minutes. Energy was not measured." in body


def test_its_numbers_are_those_of_the_report(facts: Facts, run: Path) -> None:
    head, body = split_card(render(facts, 90.0)[0])
    report = json.loads((run / "eval_test" / "report.json").read_text())
    result = head["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == pytest.approx(report["summary"][0]["auroc"], abs=5e-5)
    table = pd.read_csv(run / "eval_test" / "metrics.csv", index_col="finding")
    name = str(table["specificity_low"].first_valid_index())
    row = table.loc[name]
    shown = f"{row['specificity']:.3f} ({row['specificity_low']:.3f}-{row['specificity_high']:.3f})"
    assert re.search(rf"^\| {name} \|.*\| {re.escape(shown)} \|$", body, re.MULTILINE)
    assert "Training and validation: 1.5 minutes." in body


def test_what_is_not_known_is_named_and_not_invented(facts: Facts) -> None:
    text, gaps = render(replace(facts, evaluations=(), data=None), None)
    head, body = split_card(text)
    assert "model-index" not in head
    assert "not known: the run has no log" in body
    assert any("cxr eval has not written" in gap for gap in gaps)
    assert any("the dataset could not be read" in gap for gap in gaps)
    assert all(f"AUTHOR: {gap.partition(' (')[0].partition('`')[0]}".strip() in body for gap in gaps[2:])


def test_names_are_no_markup(facts: Facts) -> None:
    findings = ("<script>", *facts.findings[1:])
    body = split_card(render(replace(facts, findings=findings), None)[0])[1]
    assert "<script>" not in body
