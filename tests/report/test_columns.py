"""Columns of every CSV file and fields of every JSON that commands write: other programs read them by name."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest

from cxr.findings import NIH_14
from tests.helpers.commands import call

FIXTURES = Path(__file__).parents[1] / "fixtures"

METRICS = """finding num num_positive auroc auroc_low auroc_high average_precision average_precision_low
    average_precision_high f1 f1_low f1_high sensitivity sensitivity_low sensitivity_high specificity specificity_low
    specificity_high ppv ppv_low ppv_high npv npv_low npv_high brier brier_low brier_high ece threshold"""
SUBGROUPS = """attribute group finding num num_positive auroc auroc_low auroc_high num_patients num_positive_patients
    sensitivity sensitivity_low sensitivity_high false_positive_rate false_positive_rate_low false_positive_rate_high
    ppv ppv_low ppv_high observed_expected observed_expected_low observed_expected_high num_findings"""
GAPS = "attribute finding best worst gap gap_low gap_high"
CALIBRATION = """finding brier ece temperature brier_after ece_after observed_expected observed_expected_low
    observed_expected_high in_the_large in_the_large_low in_the_large_high intercept intercept_low intercept_high slope
    slope_low slope_high brier_skill brier_skill_low brier_skill_high log_loss log_loss_low log_loss_high ece_perfect
    ece_debiased ece_debiased_perfect fitted_intercept fitted_slope not_fitted observed_expected_after log_loss_after"""
RELIABILITY = "finding lowest highest num mean_probability positive num_positive positive_low positive_high"
POINTS = """finding num num_positive threshold tp fp fn tn balanced_accuracy balanced_accuracy_low
    balanced_accuracy_high mcc mcc_low mcc_high lr_positive lr_positive_low lr_positive_high lr_negative lr_negative_low
    lr_negative_high sensitivity_at_90 sensitivity_at_90_low sensitivity_at_90_high sensitivity_at_95
    sensitivity_at_95_low sensitivity_at_95_high partial_auroc partial_auroc_low partial_auroc_high optimistic"""
VALUES = "finding prevalence ppv ppv_low ppv_high npv npv_low npv_high"
DECISION = "finding probability net_benefit net_benefit_low net_benefit_high treat_all"
SETS = """finding level num_positive_fitted num_negative_fitted lowest highest coverage_positive coverage_positive_low
    coverage_positive_high coverage_negative coverage_negative_low coverage_negative_high coverage coverage_low
    coverage_high mean_size mean_size_low mean_size_high both both_low both_high empty empty_low empty_high"""
PLANNED = """finding planned_patients evaluated_patients auroc_low auroc_high auroc_width average_precision_low
    average_precision_high average_precision_width sensitivity_low sensitivity_high sensitivity_width specificity_low
    specificity_high specificity_width"""
COMPARISON = """finding num num_positive auroc_a auroc_b auroc_difference auroc_low auroc_high auroc_p auroc_p_holm
    f1_a f1_b f1_difference f1_low f1_high f1_p f1_p_holm delong_p delong_p_holm
    auroc_p_bootstrap average_precision_a average_precision_b
    average_precision_difference average_precision_low average_precision_high average_precision_p
    average_precision_p_holm brier_a brier_b
    brier_difference brier_low brier_high brier_p brier_p_holm
    sensitivity_at_90_a sensitivity_at_90_b sensitivity_at_90_difference sensitivity_at_90_low sensitivity_at_90_high
    sensitivity_at_90_p sensitivity_at_90_p_holm
    auroc_error auroc_detectable"""
READERS = """finding reader num num_positive reader_f1 reader_low reader_high model_f1 model_low model_high difference
    difference_low difference_high rule num_ties"""
READER_METRICS = """finding reader metric rule num num_positive reader_value reader_low reader_high model_value
    model_low model_high difference difference_low difference_high"""
READER_POINTS = """finding reader num num_positive auroc auroc_low auroc_high false_positive_rate sensitivity
    curve_sensitivity is_below"""
READER_PANEL = """finding metric analysis num num_positive num_readers model readers difference low high error freedom p
    p_holm margin p_noninferior is_noninferior"""

RUNS = """run recipe backbone data epochs epochs_planned best_epoch val_auroc test_auroc test_auroc_low test_auroc_high
    date bytes problem note"""


CHANGES = "change finding num num_positive auroc auroc_low auroc_high drop drop_low drop_high kept"
WITHIN = """attribute finding num num_groups auroc auroc_low auroc_high within within_low within_high drop drop_low
    drop_high"""
PROBES = "target metric num_fit num_test num_positive value low high random random_low random_high chance"
BORDER = "finding num_images num_patients border border_low border_high area"

SCORES = """pointing pointing_low pointing_high hit hit_low hit_high miou miou_low miou_high mass mass_low mass_high
    iou_0.1 iou_0.2 iou_0.3 iou_0.4 iou_0.5 iou_0.6 iou_0.7 iobb_0.1 iobb_0.25 iobb_0.5 iobb_0.75 iobb_0.9
    false_boxes apart"""


def columns(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return next(csv.reader(file))


def fields(document: object, prefix: str = "") -> dict[str, str]:
    """The fields of an object and of objects in it, by where they stand; of a list those of its first object."""
    if isinstance(document, list):
        document = document[0] if document else None
    if not isinstance(document, dict):
        return {}
    found = {prefix: " ".join(document)}
    for name, value in document.items():
        found |= fields(value, f"{prefix}.{name}".lstrip("."))
    return found


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.figures
def test_eval_writes_these_columns_and_fields(tmp_path: Path) -> None:
    options = ("--validation", FIXTURES / "validation.csv", "eval.draws=100", "eval.subgroups=[sex]")
    planned = "eval.planned_patients=500"
    assert call("eval", FIXTURES / "predictions.csv", *options, planned, "--out", tmp_path) == 0
    assert {path.name: " ".join(columns(path)) for path in tmp_path.glob("*.csv")} == {
        "predictions.csv": "image patient_id split view sex age y_Mass y_Edema y_Hernia p_Mass p_Edema p_Hernia",
        "metrics.csv": words(f"{METRICS} optimistic"),
        "subgroups.csv": words(SUBGROUPS),
        "subgroup_gaps.csv": GAPS,
        "calibration.csv": words(CALIBRATION),
        "reliability.csv": RELIABILITY,
        "operating_points.csv": words(POINTS),
        "predictive_values.csv": VALUES,
        "decision_curve.csv": DECISION,
        "prediction_sets.csv": words(SETS),
        "planned.csv": words(PLANNED),
        "roc.csv": "finding false_positive_rate sensitivity sensitivity_low sensitivity_high",
        "precision_recall.csv": "finding recall precision precision_low precision_high",
        "cooccurrence.csv": "finding other num num_both num_called",
    }
    assert fields(json.loads((tmp_path / "report.json").read_text())) == {
        "": words("""about thresholds intervals metrics summary subgroups calibration operating_points
            predictive_values decision_curve prediction_sets planned notes versions disclaimer"""),
        "about": "predictions",
        "thresholds": "rule chosen_on evaluated_on fallback optimistic",
        "metrics": words(METRICS),
        "summary": words(METRICS),
        "subgroups": "auroc gaps",
        "subgroups.auroc": words(SUBGROUPS),
        "subgroups.gaps": GAPS,
        "calibration": "fitted_on findings reliability",
        "calibration.findings": words(CALIBRATION),
        "calibration.reliability": RELIABILITY,
        "operating_points": words(POINTS),
        "predictive_values": VALUES,
        "decision_curve": DECISION,
        "prediction_sets": words(SETS),
        "planned": words(PLANNED),
        "versions": "python cxr numpy scipy scikit-learn pandas",
    }


def test_images_beside_patients_have_the_columns_of_metrics(tmp_path: Path) -> None:
    options = ("--validation", FIXTURES / "validation.csv", "eval.draws=100", "eval.unit=patient")
    assert call("eval", FIXTURES / "predictions.csv", *options, "--out", tmp_path) == 0
    assert columns(tmp_path / "metrics_by_image.csv") == f"{METRICS} optimistic".split()
    facts = fields(json.loads((tmp_path / "report.json").read_text()))
    assert facts["metrics_by_image"] == words(f"{METRICS} optimistic")


def test_second_labels_have_these_columns(tmp_path: Path) -> None:
    labels = pd.read_csv(FIXTURES / "predictions.csv").rename(columns={"y_Mass": "Mass"})[["image", "Mass"]]
    labels.to_csv(tmp_path / "second.csv", index=False)
    options = ("--second-labels", tmp_path / "second.csv", "eval.draws=100", "--out", tmp_path / "out")
    assert call("eval", FIXTURES / "predictions.csv", *options) == 0
    estimates = """labels_kappa labels_sensitivity labels_specificity labels_ppv labels_npv auroc_first auroc_second
        auroc_difference model_sensitivity model_specificity model_ppv"""
    expected = "table finding parts num num_positive num_positive_first".split()
    expected += [f"{name}{end}" for name in estimates.split() for end in ("", "_low", "_high")]
    assert columns(tmp_path / "out" / "second_reference.csv") == expected
    facts = fields(json.loads((tmp_path / "out" / "report.json").read_text()))
    assert facts["second_reference"] == " ".join(expected)


def test_compare_writes_these_columns_and_fields(tmp_path: Path) -> None:
    table = pd.read_csv(FIXTURES / "predictions.csv")
    table.assign(p_Mass=table["p_Mass"] / 2).to_csv(tmp_path / "b.csv", index=False)
    out = tmp_path / "out"
    assert (
        call("compare", FIXTURES / "predictions.csv", tmp_path / "b.csv", "eval.draws=100", "--out", out) == 0
    )
    assert columns(out / "comparison.csv") == COMPARISON.split()
    assert fields(json.loads((out / "comparison.json").read_text())) == {
        "": "a b evaluated_on intervals findings mean warnings paired notes versions disclaimer",
        "findings": words(COMPARISON),
        "mean": words(COMPARISON),
        "versions": "python cxr numpy scipy scikit-learn pandas",
    }


def test_readers_writes_these_columns(tmp_path: Path) -> None:
    table = pd.read_csv(FIXTURES / "predictions.csv")
    table.assign(Mass=(table["p_Mass"] > 0.4).astype(int))[["image", "Mass"]].to_csv(
        tmp_path / "r.csv", index=False
    )
    (tmp_path / "r2.csv").write_text((tmp_path / "r.csv").read_text())
    arguments = (
        FIXTURES / "predictions.csv",
        tmp_path / "r.csv",
        "eval.draws=100",
        "--reference",
        tmp_path / "r.csv",
        "--aided",
        tmp_path / "r2.csv",
        "--out",
        tmp_path / "out",
    )
    assert call("readers", *arguments) == 0
    assert {path.name: " ".join(columns(path)) for path in (tmp_path / "out").glob("*.csv")} == {
        "readers.csv": words(READERS),
        "reader_metrics.csv": words(READER_METRICS),
        "reader_points.csv": words(READER_POINTS),
        "reader_panel.csv": words(READER_PANEL),
        "reader_aided.csv": words(READER_PANEL.replace("model readers", "aided unaided")),
    }


def test_runs_writes_these_columns(run: Path, tmp_path: Path) -> None:
    assert call("runs", run, "--csv", tmp_path / "runs.csv") == 0
    assert columns(tmp_path / "runs.csv") == RUNS.split()


@pytest.mark.figures
def test_check_writes_these_fields(recipe: Path, chexpert: Path, tmp_path: Path) -> None:
    also = f"data.also=[{{source: chexpert, root: {chexpert}, split: random}}]"
    call("check", recipe, also, f"store.path={tmp_path / 'store'}", "--out", tmp_path)
    found = fields(json.loads((tmp_path / "check.json").read_text()))
    splits = "train val test"
    assert found == {
        "": words("""cxr subject verdict ready about quick problems hints warnings files listings twins cells together
            groups patients split_hashes plan part columns"""),
        "about": found["about"],
        "files": words("""named missing absent read unreadable num_bytes median_size sizes grey_as_colour unnamed
            first_unnamed not_read"""),
        "cells": "finding split positive negative uncertain blank unlabelled soft",
        "together": "findings counts",
        "groups": "column group images",
        "groups.images": f"{splits} all",
        "patients": "num images_each most_images in_two_splits rows_without",
        "split_hashes": splits,
        "plan": words("""images patients findings dropped batch_size epochs visits steps_per_epoch store store_bytes
            where datasets"""),
        "plan.images": splits,
        "plan.patients": splits,
        "plan.dropped": found["plan.dropped"],
        "plan.datasets": "name images patients findings weight visits share store store_bytes",
        "plan.datasets.images": splits,
        "plan.datasets.patients": splits,
    }
    alone = fields(json.loads((tmp_path / "nih" / "check.json").read_text()))
    assert (alone[""], alone["columns"]) == (found[""], "column use why")


def test_predict_prints_these_columns_and_fields(
    run: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    image = min((nih_root / "images").iterdir())
    findings = " ".join(NIH_14)
    capsys.readouterr()
    call("predict", run, image, tmp_path / "bad.png", "--format", "json")
    failed, predicted = map(json.loads, capsys.readouterr().out.splitlines())
    assert fields(predicted) == {
        "": "image probabilities thresholds above out_of_distribution familiarity notes overlays sheet dicom "
        "few_positives",
        "probabilities": findings,
        "thresholds": findings,
        "overlays": "",
        "few_positives": " ".join(predicted["few_positives"]),
    }
    assert fields(failed) == {"": "image error"}
    call("predict", run, image, "--format", "csv")
    header = capsys.readouterr().out.splitlines()[0].split(",")
    assert header == ["image", *(f"p_{finding}" for finding in NIH_14), "warning", "few_positives"]


def test_explain_writes_these_columns_and_fields(run: Path, tmp_path: Path) -> None:
    assert call("explain", run, "eval.draws=100", "--out", tmp_path) == 0
    scores = words(f"finding map num_images num_patients num_boxes {SCORES}")
    assert " ".join(columns(tmp_path / "explain.csv")) == scores
    assert " ".join(columns(tmp_path / "explain_images.csv")) == words(
        """image patient_id finding map num_boxes area pointing hit mass miou false_boxes iou_0.1 iou_0.2 iou_0.3
        iou_0.4 iou_0.5 iou_0.6 iou_0.7 iobb_0.1 iobb_0.25 iobb_0.5 iobb_0.75 iobb_0.9"""
    )
    assert fields(json.loads((tmp_path / "explain.json").read_text())) == {
        "": "about intervals findings notes versions disclaimer",
        "about": "run method boxes model",
        "findings": scores,
        "versions": "python cxr numpy scipy scikit-learn pandas",
    }


def test_shortcuts_writes_these_columns_and_fields(run: Path, tmp_path: Path) -> None:
    assert call("shortcuts", run, "eval.draws=100", "--out", tmp_path) == 0
    assert {path.name: " ".join(columns(path)) for path in tmp_path.glob("*.csv")} == {
        "shortcuts.csv": CHANGES,
        "shortcuts_within.csv": words(WITHIN),
        "shortcuts_probes.csv": PROBES,
        "shortcuts_maps.csv": BORDER,
    }
    found = fields(json.loads((tmp_path / "shortcuts.json").read_text()))
    assert found[""] == "about warnings lungs intervals regions within probes maps notes versions disclaimer"
    assert found["regions"] == CHANGES


def test_inspect_writes_these_columns(run: Path, tmp_path: Path) -> None:
    assert call("inspect", run, "--layers", "layer1", "--out", tmp_path) == 0
    assert " ".join(columns(tmp_path / "embedding.csv")) == "image patient_id view sex age pc_1 pc_2"


def test_robustness_writes_these_columns_and_fields(run: Path, tmp_path: Path) -> None:
    assert call("robustness", run, "eval.draws=100", "--kinds", "crop", "--out", tmp_path) == 0
    expected = f"kind level strength {CHANGES.removeprefix('change ')}"
    assert " ".join(columns(tmp_path / "robustness.csv")) == expected
    found = fields(json.loads((tmp_path / "robustness.json").read_text()))
    assert found[""] == "about intervals seed results notes versions disclaimer"
    assert found["results"] == expected
