"""A model card says what its run knows, and names what it does not."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from cxr.checklist.card import Copy, render
from cxr.checklist.facts import Facts
from cxr.checklist.gather import gather
from cxr.model import checkpoint as checkpoints
from cxr.training.repeat import compare_tensors
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


COPY = Copy(b"", "0" * 64, seconds=90.0)


def test_the_folder_holds_the_card_and_its_files_by_checksum(
    facts: Facts, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", run, "--out", tmp_path) == 0
    assert capsys.readouterr().out == f"card: {tmp_path / 'README.md'}\n"
    assert {path.name for path in tmp_path.iterdir()} == {
        "README.md",
        "best.safetensors",
        "manifest.json",
        "recipe.yaml",
    }
    published = json.loads((tmp_path / "manifest.json").read_text())["files"]
    for name in ("best.safetensors", "recipe.yaml"):
        data = (tmp_path / name).read_bytes()
        assert published[name] == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    head, body = split_card((tmp_path / "README.md").read_text())
    assert (head["library_name"], head["license"]) == ("cxr", "unknown")
    assert facts.sha256 in body and published["best.safetensors"]["sha256"] in body
    assert "not a medical device" in body
    assert "minutes. Energy was not measured." in body
    assert f"{os.cpu_count()} cores" in body


def test_the_copy_predicts_the_same_and_names_no_patient_and_no_folder(
    facts: Facts, run: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", run, "--out", tmp_path) == 0
    shared, own = checkpoints.load(tmp_path), checkpoints.load(run)
    states = shared.classifier.state_dict(), own.classifier.state_dict()
    assert compare_tensors("", *states).is_equal
    assert shared.recalibration == own.recalibration
    assert shared.thresholds.values == own.thresholds.values
    assert (shared.patients, shared.images, shared.metadata.split.hashes) == ({}, {}, {})
    assert not shared.thresholds.images and own.thresholds.images
    data = (tmp_path / "best.safetensors").read_bytes() + (tmp_path / "recipe.yaml").read_bytes()
    assert str(nih_root).encode() in (run / "best.safetensors").read_bytes()
    assert str(nih_root.parents[1]).encode() not in data

    capsys.readouterr()
    assert call("eval", tmp_path, "eval.interval=none") == 2
    assert "hint: data.root=FOLDER" in capsys.readouterr().err
    assert call("eval", tmp_path, f"data.root={nih_root}", f"store.path={nih_root.parent / 'store'}",
                "--out", tmp_path / "report", "--examples", "0", "eval.interval=none") == 0  # fmt: skip
    assert "the leak check is off: this is a copy for others (cxr card)" in capsys.readouterr().err


def test_the_very_checkpoint_is_copied_on_request_and_the_card_warns(
    facts: Facts, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", run, "--out", tmp_path, "--with-hashes") == 0
    assert (tmp_path / "best.safetensors").read_bytes() == (run / "best.safetensors").read_bytes()
    assert "whether best.safetensors may be shared: it holds hashes of" in capsys.readouterr().err


def test_the_run_itself_is_never_replaced(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "best.safetensors").read_bytes()
    (tmp_path / "link").symlink_to(run, target_is_directory=True)
    other = tmp_path / "other"
    other.mkdir()
    (other / "last.pt").write_bytes(b"of another run")
    for folder in (run, tmp_path / "link", other):
        assert call("card", run, "--out", folder, "--overwrite") == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: {folder}: ") and "hint: name another folder with --out" in said
    assert call("card", run / "best.safetensors", "--out", run, "--overwrite") == 2
    assert (run / "best.safetensors").read_bytes() == before and not (run / "README.md").exists()


def test_what_cxr_did_not_write_is_replaced_on_request_alone(
    facts: Facts, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("card", run, "--out", tmp_path) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    card = (tmp_path / "README.md").read_bytes()
    assert manifest["card_sha256"] == hashlib.sha256(card).hexdigest()
    assert call("card", run, "--out", tmp_path) == 0  # as it was written: again
    for name in ("README.md", "best.safetensors", "recipe.yaml", "manifest.json"):
        written = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"mine")
        capsys.readouterr()
        assert call("card", run, "--out", tmp_path) == 2
        said = f"error: {tmp_path / name}: was not written by cxr card, or was changed since\n"
        assert said in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == b"mine"
        (tmp_path / name).write_bytes(written)
    (tmp_path / "README.md").write_text("mine")
    assert call("card", run, "--out", tmp_path, "--overwrite") == 0
    assert (tmp_path / "README.md").read_bytes() == card


def test_its_numbers_are_those_of_the_report(facts: Facts, run: Path) -> None:
    head, body = split_card(render(facts, COPY)[0])
    report = json.loads((run / "eval_test" / "report.json").read_text())
    result = head["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == pytest.approx(report["summary"][0]["auroc"], abs=5e-5)
    table = pd.read_csv(run / "eval_test" / "metrics.csv", index_col="finding")
    name = str(table["specificity_low"].first_valid_index())
    row = table.loc[name]
    assert re.search(rf"^\| {name} \|.*\| {row['threshold']:.3f} \|$", body, re.MULTILINE)
    assert f"| mean | {report['summary'][0]['auroc']:.3f} " in body
    shown = f"{row['specificity']:.3f} ({row['specificity_low']:.3f}-{row['specificity_high']:.3f})"
    assert re.search(rf"^\| {name} \|.*\| {re.escape(shown)} \| [0-9.]+ \|$", body, re.MULTILINE)
    assert "Training and validation: 1.5 minutes." in body


def test_what_is_not_known_is_named_and_not_invented(facts: Facts) -> None:
    text, gaps = render(replace(facts, evaluations=(), data=None), replace(COPY, seconds=None))
    head, body = split_card(text)
    assert "model-index" not in head
    assert "not known: the run has no log" in body
    assert "not known: the run has no run.json" in body
    assert any("cxr eval has not written" in gap for gap in gaps)
    assert any("the dataset could not be read" in gap for gap in gaps)
    assert all(f"AUTHOR: {gap.partition(' (')[0].partition('`')[0]}".strip() in body for gap in gaps[2:])


def test_names_are_no_markup(facts: Facts) -> None:
    findings = ("<script>", *facts.findings[1:])
    body = split_card(render(replace(facts, findings=findings), COPY)[0])[1]
    assert "<script>" not in body
