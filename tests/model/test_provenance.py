"""Which checkpoint a report is of, whether its run has ended, and which patients a checkpoint has seen."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cxr.config.load import override
from cxr.data.dataset import Dataset
from cxr.deploy.open_runtime import open_runtime
from cxr.errors import CxrError
from cxr.evaluation.report import Report
from cxr.evaluation.thresholds import choose, count_shared, hashed
from cxr.model import checkpoint as checkpoints
from cxr.model.checkpoint import Checkpoint
from cxr.model.evaluate import evaluate_runs, predict_for_comparison
from cxr.model.provenance import note_other_reports, note_unfinished
from cxr.model.seen_hashes import hash_images, hash_patients, images_of, patients_of
from cxr.patient_hash import Hasher, hasher_from_environment
from cxr.report.evaluation import facts
from cxr.training import train as loop
from cxr.training.save import make_checkpoint
from tests.helpers.models import Recipe
from tests.training.test_train import make_run

KEY = "0123456789abcdef0123456789abcdef"
OTHERS = ["data.split=random", "data.split_seed=1"]


def evaluate(run: Path, *overrides: str) -> Report:
    return evaluate_runs([run], ["eval.interval=none", *overrides], "test")[0]


def link(run: Path, to: Path) -> Path:
    """A copy of a run that shares its files, which are replaced and never changed in place."""
    return Path(shutil.copytree(run, to, copy_function=os.link, ignore=shutil.ignore_patterns("tensorboard")))


def test_a_report_carries_the_checksum_of_its_checkpoint(trained: Path) -> None:
    digest = hashlib.sha256((trained / checkpoints.BEST).read_bytes()).hexdigest()
    said = json.loads(json.dumps(facts(evaluate(trained))))["about"]["checkpoint"]
    assert said == f"best.safetensors, SHA-256 {digest[:16]}..."
    both = evaluate_runs([trained, trained / checkpoints.BEST], ["eval.interval=none"], "test")[0]
    assert dict(both.about)["checkpoint"] == f"{said}; {said}"


def test_a_report_of_another_checkpoint_is_named(trained: Path, tmp_path: Path) -> None:
    run, checkpoint = link(trained, tmp_path / "run"), checkpoints.load(trained)
    report = run / "eval_test" / "report.json"
    report.parent.mkdir()
    for text in ("", "{", "[]", '{"about": {}}', '{"about": {"checkpoint": 3}}', "[" * 10**5):
        report.write_text(text)
        assert note_other_reports(run, checkpoint) == []
    report.write_text(json.dumps(facts(evaluate(trained))))
    assert note_other_reports(run, checkpoint) == []
    (note,) = note_other_reports(run, replace(checkpoint, sha256="f" * 64))
    assert note.startswith(
        f"{report.parent}/report.html is of another checkpoint than best.safetensors, SHA-256 ffff"
    )
    assert note.endswith(f"cxr eval {run} evaluates this one")


def test_an_unfinished_run_is_said_to_be_one(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, checkpoint = link(trained, tmp_path / "run"), checkpoints.load(trained)
    assert note_unfinished(run, checkpoint) == note_unfinished(run / checkpoints.BEST, checkpoint) == []
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    first = next(place for place, line in enumerate(lines) if '"epoch"' in line and "val_auroc" in line)
    (run / "log.jsonl").unlink()
    (run / "log.jsonl").write_text("".join(lines[: first + 1]))
    assert note_unfinished(run, checkpoint) == []  # last.pt knows better than a log that is cut
    saved = checkpoints.load_resumable(run / checkpoints.LAST)
    (run / checkpoints.LAST).unlink()
    expected = (
        f"{run} is unfinished: epoch 1 of 3; this is its best so far, of epoch {checkpoint.metadata.epoch}"
    )
    assert note_unfinished(run, checkpoint) == [expected]
    capsys.readouterr()
    open_runtime(str(run), "cpu")  # as cxr predict, cxr serve and cxr.load do
    assert expected in capsys.readouterr().err
    (run / "log.jsonl").unlink()
    assert note_unfinished(run, checkpoint) == []
    history: Any = saved["history"]
    checkpoints.save_resumable(run / checkpoints.LAST, saved | {"history": history[:1]})
    assert expected in evaluate(run).notes
    (run / checkpoints.LAST).unlink()
    config = override(checkpoint.metadata.config, ["train.early_stopping=1"])
    early = replace(checkpoint, metadata=checkpoint.metadata.model_copy(update={"config": config}))
    figures = [
        {"kind": "epoch", "step": 5, "epoch": epoch, "val_auroc": auroc}
        for epoch, auroc in ((1, 0.7), (2, 0.6))
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in figures))
    assert note_unfinished(run, early) == []


def forget(trained: Path, path: Path, **changes: object) -> Path:
    """A copy of a checkpoint that holds other hashes, or none."""
    checkpoint = checkpoints.load(trained)
    metadata = checkpoint.metadata.model_copy(update={"patient_key": changes.pop("patient_key", "")})
    checkpoints.save(path, replace(checkpoint, metadata=metadata, **changes))  # type: ignore[arg-type]
    return path


def test_without_patients_the_leak_check_is_off_and_that_is_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = forget(trained, tmp_path / "none.safetensors", patients={}, images={})
    report = evaluate(file, *OTHERS)
    what = f"{file}: the leak check is off: the checkpoint holds no patients"
    assert f"{what}; whether the model was trained on patients evaluated here is not known" in report.notes
    assert f"warning: {what}" in "".join(capsys.readouterr().err.split("\n"))
    assert any(what in note for note in predict_for_comparison(file, OTHERS, "test")[0].notes)
    with pytest.raises(CxrError, match="patients to be evaluated were in the model's train rows"):
        evaluate(trained, *OTHERS)


def test_another_key_is_said_to_be_one_and_is_not_taken_for_other_patients(
    trained: Path, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasher, folds = Hasher(KEY.encode()), ("train", "val")
    patients = {fold: patients_of(dataset, fold, hasher) for fold in folds}
    images = {fold: images_of(dataset, fold, hasher) for fold in folds}
    file = tmp_path / "keyed.safetensors"
    forget(trained, file, patients=patients, images=images, patient_key=hasher.key_id)
    for key, ours in (
        (None, "CXR_PATIENT_KEY is not set"),
        ("another" * 5, "CXR_PATIENT_KEY is another key"),
    ):
        monkeypatch.delenv("CXR_PATIENT_KEY", raising=False)
        if key:
            monkeypatch.setenv("CXR_PATIENT_KEY", key)
        why = f"the checkpoint's patients are hashed with a key ({hasher.key_id}), and {ours}"
        assert any(why in note for note in evaluate(file, *OTHERS).notes)
    monkeypatch.setenv("CXR_PATIENT_KEY", f" {KEY}\n")
    with pytest.raises(CxrError, match="patients to be evaluated were in the model's train rows"):
        evaluate(file, *OTHERS)
    with pytest.raises(CxrError, match="patients to be evaluated were in the model's train rows"):
        evaluate(trained, *OTHERS)  # which was hashed without one


def checkpoint_of(make_recipe: Recipe, dataset: Dataset, out: Path, *overrides: str) -> Checkpoint:
    """What training would save after an epoch."""
    torch.manual_seed(0)
    run, state = make_run(make_recipe(out, *overrides), dataset)
    _, _, predictions = loop.validate(run, state.ema)
    state.history.append({"auroc": 0.5, "loss": 0.5})
    return make_checkpoint(run, state, predictions)


def test_training_hashes_with_the_key_or_keeps_nothing(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = checkpoint_of(make_recipe, dataset, tmp_path)
    none = checkpoint_of(make_recipe, dataset, tmp_path, "train.remember_patients=false")
    monkeypatch.setenv("CXR_PATIENT_KEY", KEY)
    keyed = checkpoint_of(make_recipe, dataset, tmp_path)
    assert (none.patients, none.images, none.thresholds.images, none.metadata.patient_key) == (
        {},
        {},
        frozenset(),
        "",
    )
    assert keyed.metadata.patient_key == keyed.thresholds.patient_key == hasher_from_environment().key_id
    for fold in ("train", "val"):
        for ours, theirs in ((plain.patients, keyed.patients), (plain.images, keyed.images)):
            assert len(ours[fold]) == len(theirs[fold]) > 0
            assert not np.intersect1d(ours[fold].numpy(), theirs[fold].numpy()).size
    assert plain.thresholds.values == keyed.thresholds.values == none.thresholds.values
    assert not plain.thresholds.images & keyed.thresholds.images
    checkpoints.save(tmp_path / "none.safetensors", none)
    data = (tmp_path / "none.safetensors").read_bytes()
    assert b'"patients.' not in data and b'"images.' not in data


def guesses() -> Iterable[str]:
    """Every id that a patient of ChestX-ray14 can have."""
    return map(str, range(1, 30_806))


def test_hashes_without_a_key_are_reversed_by_trying_and_those_with_one_are_not(dataset: Dataset) -> None:
    ids = dataset.table.rows["patient_id"].iloc[dataset.rows("train")].unique()
    start, table = time.perf_counter(), hash_patients("nih", guesses())
    assert time.perf_counter() - start < 5
    assert len(np.intersect1d(table.numpy(), patients_of(dataset, "train").numpy())) == len(ids)
    keyed = patients_of(dataset, "train", Hasher(KEY.encode()))
    assert not np.intersect1d(table.numpy(), keyed.numpy()).size


def test_thresholds_of_another_key_are_not_known_to_be_of_other_images(
    make_recipe: Recipe, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, state = make_run(make_recipe(tmp_path), dataset)
    _, _, predictions = loop.validate(run, state.ema)
    monkeypatch.setenv("CXR_PATIENT_KEY", KEY)
    points = choose(predictions, "f1")
    assert count_shared(points, predictions.rows) == len(predictions)
    assert points.images == hashed(predictions.rows["image"], Hasher(KEY.encode()))
    monkeypatch.delenv("CXR_PATIENT_KEY")
    assert count_shared(points, predictions.rows) is None


@pytest.mark.parametrize("key", ["", "  ", "\n"])
def test_an_empty_key_is_a_mistake(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_PATIENT_KEY", key)
    with pytest.raises(CxrError, match="CXR_PATIENT_KEY: is set and empty"):
        hasher_from_environment()


def test_the_hashes_are_hmac_sha256_and_the_key_id_is_no_part_of_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import hmac

    monkeypatch.setenv("CXR_PATIENT_KEY", KEY)
    expected = hmac.new(KEY.encode(), b"nih\n42", "sha256").digest()[:8]
    assert hash_patients("nih", ["42"], hasher_from_environment()).tolist() == [
        int.from_bytes(expected, "big", signed=True)
    ]
    plain = hashlib.sha256(b"nih\n42").digest()[:8]
    assert hash_patients("nih", ["42"]).tolist() == [int.from_bytes(plain, "big", signed=True)]
    assert hasher_from_environment().key_id not in KEY and KEY not in repr(hasher_from_environment())
    assert not torch.equal(hash_images("nih", ["42"], hasher_from_environment()), hash_images("nih", ["42"]))
