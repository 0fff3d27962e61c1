import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr.data import placement
from cxr.data.checksums import copy_pixels
from cxr.data.dataset import Dataset
from cxr.data.loader import Rows
from cxr.data.store import Pixels, Store
from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.recalibration import fit
from cxr.evaluation.report import Report, macro_auroc
from cxr.evaluation.thresholds import choose
from cxr.model import checkpoint as checkpoints
from cxr.model.evaluate import evaluate_runs
from cxr.report import markdown
from cxr.report.evaluation_page import page
from cxr.report.run_files import Training
from tests.helpers.fakes import write_lines


def evaluate_run(run: Path, overrides: list[str], fold: str) -> tuple[Report, Predictions]:
    """One run, without the time that intervals take."""
    return evaluate_runs([run], ["eval.interval=none", *overrides], fold)


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


def test_the_report_names_the_images_of_its_thresholds_and_those_evaluated_on(
    trained: Path, dataset: Dataset
) -> None:
    report, _ = evaluate_run(trained, [], "test")
    text = markdown.render(page(report, (), Training()))
    num_val, num_test = (len(dataset.rows(fold)) for fold in ("val", "test"))
    assert f"best F1 on validation rows ({num_val} images" in text
    assert f"| evaluated on | test rows ({num_test} images" in text
    assert not [note for note in report.notes if "optimistic" in note]


def test_judging_the_validation_rows_says_that_their_thresholds_are_optimistic(trained: Path) -> None:
    report, predictions = evaluate_run(trained, [], "val")
    assert report.notes[0].startswith(
        f"thresholds were chosen on {len(predictions)} of the {len(predictions)} images"
    )


def test_each_row_of_a_split_is_evaluated_once(trained: Path, dataset: Dataset) -> None:
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
def test_patients_it_was_trained_on_are_refused(
    overrides: list[str], fold: str, seen: str, trained: Path
) -> None:
    with pytest.raises(
        CxrError, match=rf"\d+ of the \d+ patients to be evaluated were in the model's {seen} rows"
    ):
        evaluate_run(trained, overrides, fold)


def test_patients_whose_rows_chose_its_thresholds_are_refused(
    trained: Path, dataset: Dataset, tmp_path: Path
) -> None:
    names, files = dataset.table.rows["image"], {}
    for fold, rows in (
        ("train", dataset.rows("train")),
        ("val", dataset.rows("test")),
        ("test", dataset.rows("val")),
    ):
        files[fold] = tmp_path / f"{fold}.txt"
        files[fold].write_text("\n".join(names.iloc[rows]) + "\n")
    lists = ", ".join(f"{fold}: {file}" for fold, file in files.items())
    with pytest.raises(CxrError, match="patients to be evaluated were in the model's val rows"):
        evaluate_run(trained, ["data.split=lists", f"data.lists={{{lists}}}"], "test")


def test_the_same_patients_read_as_another_source_are_refused_too(trained: Path, tmp_path: Path) -> None:
    overrides = [
        "data.source=nih",
        f"store.path={tmp_path / 'store'}",
        "data.split=random",
        "data.split_seed=1",
    ]
    with pytest.raises(CxrError, match="patients to be evaluated were in the model's train rows"):
        evaluate_run(trained, overrides, "test")


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("image.store_size=96", "trained on Preprocess"),
        ("image.fit=crop", "trained on Preprocess"),
        ("image.size=64", "trained at 32 pixels, asked for 64"),
        ("data.findings=[Mass]", "data.findings cannot change"),
        ("model.backbone=resnet34", "model cannot change after training"),
    ],
)
def test_what_the_checkpoint_fixes_is_refused(override: str, what: str, trained: Path) -> None:
    with pytest.raises(CxrError, match=what) as error:
        evaluate_run(trained, [override], "test")
    assert error.value.hint == "override data.*, store.* and eval.* only; the checkpoint fixes the rest"


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


def test_intercept_and_slope_are_fitted_on_the_validation_rows_of_training(trained: Path) -> None:
    _, validation = evaluate_run(trained, [], "val")
    report, _ = evaluate_run(trained, [], "test")
    assert report.calibration is not None
    np.testing.assert_array_equal(report.calibration["fitted_slope"], fit(validation).slopes)
    assert report.calibrated_on == validation.describe()


def test_another_rule_chooses_on_validation_images_again(trained: Path) -> None:
    _, validation = evaluate_run(trained, [], "val")
    report, _ = evaluate_run(trained, ["eval.threshold=sensitivity=0.9"], "test")
    assert report.thresholds == choose(validation, "sensitivity=0.9")
    assert not report.optimistic


@pytest.mark.parametrize("trained_for", ["image", "patient"])
def test_thresholds_of_patients_are_chosen_on_patients_and_those_of_images_kept(
    trained: Path, tmp_path: Path, trained_for: str
) -> None:
    best = checkpoints.load(trained)  # whose thresholds are of images, whatever unit its recipe names
    section = best.metadata.config.eval.model_copy(update={"unit": trained_for})
    config = best.metadata.config.model_copy(update={"eval": section})
    run = tmp_path / "best.safetensors"
    checkpoints.save(run, replace(best, metadata=best.metadata.model_copy(update={"config": config})))
    _, validated = evaluate_run(trained, ["eval.unit=patient"], "val")
    report, predictions = evaluate_run(run, ["eval.unit=patient"], "test")
    assert (validated.unit, predictions.unit) == ("patient", "patient")
    assert report.thresholds.values == choose(validated, "f1").values
    assert report.by_image is not None
    images, _ = evaluate_run(trained, [], "test")
    assert report.by_image.thresholds == best.thresholds == images.thresholds
    assert macro_auroc(images) == report.by_image.summary["auroc"].iloc[0]


def test_a_run_is_set_beside_a_second_table_of_labels_of_part_of_its_images(
    trained: Path, tmp_path: Path
) -> None:
    _, predictions = evaluate_run(trained, [], "test")
    finding, half = predictions.findings[0], len(predictions) // 2
    lines = [f"{image},{number % 2}" for number, image in enumerate(predictions.rows["image"][:half])]
    table = write_lines(tmp_path / "second.csv", [f"image,{finding}", *lines])
    with pytest.raises(CxrError, match=r"second\.csv: does not label"):
        evaluate_runs([trained], ["eval.draws=100"], "test", second=[table])
    options = LabelOptions(skip_unlabelled=True)
    report, _ = evaluate_runs([trained], ["eval.draws=100"], "test", second=[table], options=options)
    row = report.second[0].table.iloc[0]
    known = ~np.isnan(predictions.y[:half, 0])
    assert (row["finding"], row["num"]) == (finding, known.sum())
    assert row["auroc_second"] == pytest.approx(
        roc_auc_score((np.arange(half) % 2)[known], predictions.p[:half, 0][known])
    )


def test_another_tta_chooses_on_validation_images_again(trained: Path) -> None:
    _, validation = evaluate_run(trained, ["eval.tta=flip"], "val")
    report, predictions = evaluate_run(trained, ["eval.tta=flip"], "test")
    _, single = evaluate_run(trained, [], "test")
    assert report.thresholds.values == choose(validation, "f1").values
    assert (predictions.p != single.p).any()
    assert ("test-time augmentation", "flip") in report.about


def test_an_ensemble_of_a_run_with_itself_is_the_run_and_copies_its_pixels_once(
    trained: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, one = evaluate_run(trained, [], "test")
    copied: list[int] = []

    def note_and_copy(store: Store, rows: Rows, target: Pixels) -> None:
        copied.append(len(rows))
        copy_pixels(store, rows, target)

    monkeypatch.setattr(placement, "copy_pixels", note_and_copy)
    overrides = ["eval.interval=none", "store.where=ram"]
    report, several = evaluate_runs([trained, trained], overrides, "test", "logits")
    assert copied == [len(dataset.rows(fold)) for fold in ("test", "val")]
    order = np.argsort(one.rows["image"])
    np.testing.assert_allclose(several.p, one.p[order], atol=1e-12)
    assert report.table["auroc"].tolist() == pytest.approx(alone.table["auroc"].tolist(), nan_ok=True)
    assert report.thresholds.values == pytest.approx(alone.thresholds.values, abs=1e-9)
    assert dict(report.about)["ensemble"] == "mean of the logits of 2 models"


def test_seen_patients_may_be_evaluated_when_asked_and_are_marked(trained: Path) -> None:
    overrides = ["eval.interval=none", "data.split=random", "data.split_seed=1"]
    report, _ = evaluate_runs([trained], overrides, "test", allow_seen=True)
    assert re.match(
        rf"NOT A FAIR TEST of {re.escape(str(trained))}: \d+ of the \d+ patients", report.notes[1]
    )
    assert report.optimistic  # some of them chose its thresholds
