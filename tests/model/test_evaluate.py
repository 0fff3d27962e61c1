import json
from pathlib import Path

import numpy as np
import pytest

from cxr.data.dataset import Dataset
from cxr.errors import CxrError
from cxr.evaluation.report import macro_auroc, render_markdown
from cxr.evaluation.thresholds import choose
from cxr.model import checkpoint as checkpoints
from cxr.model.evaluate import evaluate_run


def test_validation_in_training_is_the_report(trained: Path) -> None:
    report, _ = evaluate_run(trained, [], "val")
    metadata = checkpoints.load(trained).metadata
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    logged = next(line for line in lines if line["kind"] == "epoch" and line["epoch"] == metadata.epoch)
    assert macro_auroc(report) == logged["val_auroc"] == metadata.validation["auroc"]


def test_thresholds_are_those_that_training_chose_on_its_validation_rows(trained: Path) -> None:
    checkpoint = checkpoints.load(trained)
    _, validation = evaluate_run(trained, [], "val")
    report, predictions = evaluate_run(trained, [], "test")
    assert report.thresholds == checkpoint.thresholds
    assert report.thresholds.values == choose(validation, "f1").values
    assert report.thresholds.values != pytest.approx(choose(predictions, "f1").values, abs=1e-6)


def test_the_report_names_the_rows_of_its_thresholds_and_those_it_judges(trained: Path, dataset: Dataset) -> None:
    report, _ = evaluate_run(trained, [], "test")
    page = render_markdown(report)
    num_val, num_test = (len(dataset.rows(fold)) for fold in ("val", "test"))
    assert f"best F1 on validation rows ({num_val} images" in page
    assert f"| judged on | test rows ({num_test} images" in page
    assert not [note for note in report.notes if "optimistic" in note]


def test_judging_the_validation_rows_says_that_their_thresholds_are_optimistic(trained: Path) -> None:
    report, predictions = evaluate_run(trained, [], "val")
    assert report.notes[0].startswith(f"thresholds were chosen on {len(predictions)} of the {len(predictions)} images")


def test_each_row_of_a_fold_is_judged_once(trained: Path, dataset: Dataset) -> None:
    for fold in ("train", "val", "test"):
        _, predictions = evaluate_run(trained, ["eval.batch_size=7"], fold)
        assert list(predictions.rows["image"]) == list(dataset.table.rows["image"].iloc[dataset.rows(fold)])


@pytest.mark.parametrize(
    ("overrides", "fold", "seen"),
    [
        (["data.split=random", "data.split_seed=1"], "test", "train"),
        (["data.split_seed=5"], "val", "train"),
        (["data.split=random", "data.split_seed=1"], "val", "train"),
    ],
)
def test_patients_it_was_trained_on_are_refused(overrides: list[str], fold: str, seen: str, trained: Path) -> None:
    with pytest.raises(CxrError, match=rf"\d+ of the \d+ patients to be judged were in the model's {seen} rows"):
        evaluate_run(trained, overrides, fold)


def test_patients_whose_rows_chose_its_thresholds_are_refused(trained: Path, dataset: Dataset, tmp_path: Path) -> None:
    names, files = dataset.table.rows["image"], {}
    for fold, rows in (("train", dataset.rows("train")), ("val", dataset.rows("test")), ("test", dataset.rows("val"))):
        files[fold] = tmp_path / f"{fold}.txt"
        files[fold].write_text("\n".join(names.iloc[rows]) + "\n")
    lists = ", ".join(f"{fold}: {file}" for fold, file in files.items())
    with pytest.raises(CxrError, match="patients to be judged were in the model's val rows"):
        evaluate_run(trained, ["data.split=lists", f"data.lists={{{lists}}}"], "test")


def test_the_same_patients_read_as_another_source_are_refused_too(trained: Path, tmp_path: Path) -> None:
    overrides = ["data.source=nih", f"store.path={tmp_path / 'store'}", "data.split=random", "data.split_seed=1"]
    with pytest.raises(CxrError, match="patients to be judged were in the model's train rows"):
        evaluate_run(trained, overrides, "test")


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("image.store_size=96", "trained on Preprocess"),
        ("image.fit=crop", "trained on Preprocess"),
        ("image.size=64", "trained at 32 pixels, asked for 64"),
        ("data.findings=[Mass]", "data.findings cannot change"),
        ("model.backbone=resnet34", "model cannot change after training"),
        ("eval.threshold=0.3", "eval.threshold cannot change"),
    ],
)
def test_what_the_checkpoint_fixes_is_refused(override: str, what: str, trained: Path) -> None:
    with pytest.raises(CxrError, match=what) as error:
        evaluate_run(trained, [override], "test")
    assert error.value.hint == "override data.* and store.* only; the checkpoint fixes the rest"


def test_a_fold_without_rows_is_an_error(trained: Path) -> None:
    with pytest.raises(CxrError, match="no images for test"):
        evaluate_run(trained, ["data.split=random", "data.test_fraction=0"], "test")


def test_probabilities_have_the_weights_of_the_loss_undone(trained: Path, dataset: Dataset) -> None:
    _, predictions = evaluate_run(trained, [], "train")
    classifier = checkpoints.load(trained).classifier
    shift = classifier.logit_shift.double().numpy()
    raw = 1 / (1 + (1 / predictions.p - 1) * np.exp(shift))
    prevalence = predictions.y.mean(axis=0)
    assert (abs(predictions.p.mean(axis=0) - prevalence) < abs(raw.mean(axis=0) - prevalence)).all()
    assert ((predictions.p - predictions.y) ** 2).mean() < ((raw - predictions.y) ** 2).mean()
