import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import f1_score, roc_auc_score

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.metric_tables import MEAN, MEAN_5, MICRO
from cxr.evaluation.prediction_files import score_files
from cxr.evaluation.predictions import Predictions, write
from cxr.evaluation.recalibration import fit
from cxr.evaluation.report import Report, macro_auroc, score
from cxr.evaluation.statistics import metrics
from cxr.evaluation.statistics.bootstrap import RESAMPLED
from cxr.evaluation.statistics.metrics import Float
from cxr.evaluation.thresholds import choose, fixed
from cxr.findings import CHEXPERT_5, CHEXPERT_14, NIH_14
from cxr.report import evaluation, markdown
from cxr.report.document import format_cell
from cxr.report.evaluation import metrics_table, summary
from cxr.report.evaluation_page import COLUMNS, page
from cxr.report.evaluation_page import metrics as metrics_of
from cxr.report.run_files import Training
from cxr.report.terminal import render

Draw = Callable[..., Predictions]
NO_INTERVALS = Eval(interval="none")


def small() -> Report:
    """Mass: right but for one of four; Hernia: no positive; the thresholds come from two other images."""
    y = np.array([[1, 0], [1, 0], [0, 0], [0, np.nan]])
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.3], [0.001, 0.2]])
    rows = pd.DataFrame(
        {"image": list("abcd"), "patient_id": list("1123"), "split": "test", "view": "", "sex": ""}
    )
    test = Predictions(rows.assign(age=np.nan), ("Mass", "Hernia"), y, p)
    val = Predictions(
        test.rows.iloc[:2].assign(image=["e", "f"], split="val"), test.findings, y[1:3], p[1:3, ::-1]
    )
    return score(test, choose(val, "f1"), {"run": "runs/small | first"})


def shown(report: Report, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(*summary(report)))
    return capture.get().splitlines()


def test_the_markdown_page_reads_well() -> None:
    assert (
        re.sub(
            r"python 3.*(?= \|)|(?<=- Date: )[0-9-]+",
            lambda found: "TODAY" if found[0][0].isdigit() else "VERSIONS",
            markdown.render(page(small(), (), Training())),
        )
        == """# Evaluation of runs/small \\| first

- Evaluated on: test rows (4 images, 3 patients)
- Date: TODAY

- mean AUROC: 0.750
- mean average precision: 0.833
- mean F1: 0.500
- mean sensitivity: 0.500
- mean specificity: 0.583

Thresholds: best F1 on validation rows (2 images, 1 patient).

- n/a, no positive image: Hernia
- the mean AUROC is over 1 of 2 findings
- threshold 0.5, since the rows it is chosen on hold one class only: Hernia
- thresholds chosen on fewer than 10 positive images, which other images may not confirm: Mass (1)

## Findings

Metrics of each finding; threshold: best F1 on validation rows (2 images, 1 patient):

| Finding | Images | Positive | AUROC | Average precision | F1 | Threshold | Sensitivity | Specificity | PPV | NPV | \
Brier | ECE |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| Mass | 4 | 2 | 0.750 | 0.833 | 0.500 | 0.450 | 0.500 | 0.500 | 0.500 | 0.500 | 0.155 | 0.300 |
| Hernia | 3 | 0 | n/a | n/a | n/a | 0.500 | n/a | 0.667 | 0.000 | 1.000 | 0.153 | 0.333 |
| **mean** | **4** |  | **0.750** | **0.833** | **0.500** |  | **0.500** | **0.583** | **0.250** | **0.750** | \
**0.154** | **0.317** |
| **micro (pairs)** | **7** | **2** | **0.800** | **0.750** | **0.400** |  | **0.500** | **0.600** | **0.333** | \
**0.750** | **0.154** | **0.314** |

AUROC, average precision and Brier score need no threshold. ECE is the expected calibration error over 15 bins. \
PPV and NPV hold for the prevalence of these images alone. The row of micro counts pairs of an image and a finding, \
not images.

## About

What was evaluated, and with what:

|  |  |
| --- | --- |
| run | runs/small \\| first |
| thresholds | best F1 on validation rows (2 images, 1 patient) |
| evaluated on | test rows (4 images, 3 patients) |
| computed with | VERSIONS |

Research tool, not a medical device.
"""
    )


def test_the_terminal_table_reads_well() -> None:
    text = "\n".join(line.rstrip() for line in shown(small()))
    assert (
        text
        == """Evaluated on test rows (4 images, 3 patients)

                             Avg.
Finding        Pos.  AUROC  prec.     F1  Thresh.  Sens.  Spec.
───────────────────────────────────────────────────────────────
Mass              2  0.750  0.833  0.500    0.450  0.500  0.500
Hernia            0    n/a    n/a    n/a    0.500    n/a  0.667

mean                 0.750  0.833  0.500           0.500  0.583
micro (pairs)     2  0.800  0.750  0.400           0.500  0.600

micro (pairs): pairs of an image and a finding, not images.
Thresholds: best F1 on validation rows (2 images, 1 patient); evaluated on test
rows.
Note: n/a, no positive image: Hernia
Note: the mean AUROC is over 1 of 2 findings
Note: threshold 0.5, since the rows it is chosen on hold one class only: Hernia
Note: thresholds chosen on fewer than 10 positive images, which other images may
not confirm: Mass (1)
Research tool, not a medical device."""
    )


@pytest.mark.parametrize(("findings", "width"), [(NIH_14, 80), (CHEXPERT_14, 100)])
def test_the_terminal_table_cuts_and_folds_nothing(draw: Draw, findings: tuple[str, ...], width: int) -> None:
    report = score(draw(90, findings), fixed(findings), config=Eval(draws=100))
    text = "\n".join(shown(replace(report, table=report.table.assign(num_positive=111_111)), width))
    assert "…" not in text
    assert all(finding in text for finding in findings)


def test_long_findings_fold_at_80_columns(draw: Draw) -> None:
    report = score(draw(90, CHEXPERT_14), fixed(CHEXPERT_14), config=Eval(draws=100))
    lines = shown(replace(report, table=report.table.assign(num_positive=111_111)))
    at = next(place for place, line in enumerate(lines) if line.startswith("Enlarged "))
    assert lines[at].split()[1] == "111,111"
    assert lines[at + 1].strip() == "Cardiomediastinum"
    assert not any("…" in line for line in lines)


def test_figures_are_those_of_the_metrics(draw: Draw) -> None:
    predictions = draw(300)
    report = score(predictions, fixed(predictions.findings, 0.3))
    y, p = predictions.y[:, 1], predictions.p[:, 1]
    row = report.table.iloc[1]
    assert (row.num, row.num_positive) == metrics.count(y)
    assert (row.auroc, row.average_precision) == (metrics.auroc(y, p), metrics.average_precision(y, p))
    assert (row.f1, row.sensitivity, row.specificity, row.ppv, row.npv) == metrics.at_threshold(y, p, 0.3)
    assert macro_auroc(report) == pytest.approx(report.table["auroc"].mean())


def test_the_order_of_rows_changes_no_figure(draw: Draw) -> None:
    predictions = draw(300)
    thresholds = choose(draw(100, split="val", seed=1), "f1")
    mixed = predictions.select(np.random.default_rng(0).permutation(300))
    how = Eval(draws=200)
    straight, shuffled = (
        score(own, thresholds, config=how, recalibration=fit(predictions)) for own in (predictions, mixed)
    )
    for name in ("table", "summary", "calibration", "reliability"):
        pd.testing.assert_frame_equal(getattr(shuffled, name), getattr(straight, name), check_exact=True)
    assert shuffled.subgroups is not None and straight.subgroups is not None
    pd.testing.assert_frame_equal(shuffled.subgroups.groups, straight.subgroups.groups, check_exact=True)


def test_nothing_known_is_a_report_of_counts(draw: Draw) -> None:
    predictions = draw(5, ("Mass",))
    predictions.y[:] = np.nan
    report = score(predictions, choose(predictions.select(np.array([], int)), "f1"))
    assert np.isnan(macro_auroc(report))
    assert (report.table["num"].tolist(), report.summary["num"].tolist()) == ([0], [5, 0])
    assert "n/a, no image with a known label: Mass" in report.notes


def test_thresholds_chosen_on_evaluated_rows_are_marked(draw: Draw) -> None:
    val, test = draw(100, split="val"), draw(100)
    what = "100 of the 100 images evaluated here, so metrics marked * are optimistic"
    report = score(val, choose(val, "f1"))
    assert (report.notes[0], report.optimistic) == (f"thresholds were chosen on {what}", True)
    cells = dict(zip(COLUMNS, map(format_cell, metrics_of(report).rows[0]), strict=True))
    marked = {name for name, cell in cells.items() if "*" in cell}
    assert marked == {"f1", "sensitivity", "specificity", "ppv", "npv"}
    assert metrics_table(report)["optimistic"].all()
    fair = score(test, choose(val, "f1"))
    assert (fair.notes, fair.optimistic) == ((), False)


@pytest.mark.figures
def test_files_are_written(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(120)
    predictions.y[:, 2] = 0
    report = score(predictions, fixed(predictions.findings), config=Eval(draws=100))
    evaluation.write(report, predictions, predictions, tmp_path / "eval")
    names = [
        "calibration.csv",
        "cooccurrence.csv",
        "decision_curve.csv",
        "figures",
        "metrics.csv",
        "operating_points.csv",
        "precision_recall.csv",
        "predictions.csv",
        "predictive_values.csv",
        "reliability.csv",
        "report.html",
        "report.json",
        "report.md",
        "roc.csv",
    ]
    assert sorted(file.name for file in (tmp_path / "eval").iterdir()) == names
    table = pd.read_csv(tmp_path / "eval" / "metrics.csv", index_col="finding")
    resampled = [f"{figure}{end}" for figure in RESAMPLED for end in ("", "_low", "_high")]
    assert list(table) == ["num", "num_positive", *resampled, "ece", "threshold", "optimistic"]
    hernia, mean = (dict(table.loc[name]) for name in ("Hernia", "mean"))
    assert (hernia["num_positive"], hernia["threshold"]) == (0, 0.5)
    assert np.isnan([hernia["auroc"], hernia["auroc_low"], hernia["f1"]]).all()
    assert mean["auroc_low"] < mean["auroc"] < mean["auroc_high"]


def test_metrics_csv_keeps_every_digit(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(50)
    report = score(predictions, choose(predictions, "youden"))
    evaluation.write(report, predictions, predictions, tmp_path)
    table = pd.read_csv(tmp_path / "metrics.csv", dtype=str)
    assert [float(cell) for cell in table["auroc"][:3]] == report.table["auroc"].tolist()
    assert [float(cell) for cell in table["threshold"][:3]] == list(report.thresholds.values)


def test_report_json_is_strict(tmp_path: Path, draw: Draw) -> None:
    predictions = draw(2, ("Mass", "Hernia"))
    evaluation.write(small(), predictions, predictions, tmp_path)
    text = (tmp_path / "report.json").read_text()
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    parts = ["about", "thresholds", "intervals", "metrics", "summary", "notes", "versions", "disclaimer"]
    assert list(document) == parts
    assert document["thresholds"] == {
        "rule": "f1",
        "chosen_on": "validation rows (2 images, 1 patient)",
        "evaluated_on": "test rows (4 images, 3 patients)",
        "fallback": ["Hernia"],
        "optimistic": False,
    }
    assert [row["auroc"] for row in document["metrics"]] == [0.75, None]
    assert [row["num_positive"] for row in document["summary"]] == [None, 2]
    assert set(document["versions"]) == {"cxr", "python", "numpy", "scipy", "pandas", "scikit-learn"}


def both_splits(draw: Draw) -> Predictions:
    val, test = draw(60, split="val", seed=1), draw(90)
    rows = pd.concat([val.rows, test.rows], ignore_index=True)
    return Predictions(rows, val.findings, np.concatenate([val.y, test.y]), np.concatenate([val.p, test.p]))


def test_a_file_of_two_splits_is_tuned_on_validation_and_evaluated_on_test_rows(
    draw: Draw, tmp_path: Path
) -> None:
    write(both_splits(draw), tmp_path / "p.csv")
    report, found = score_files([tmp_path / "p.csv"], NO_INTERVALS)
    assert (report.evaluated_on, len(found.rows), len(found.evaluated)) == (
        "test rows (90 images, 30 patients)",
        150,
        90,
    )
    expected = score(draw(90), choose(draw(60, split="val", seed=1), "f1"))
    pd.testing.assert_frame_equal(report.table, expected.table)
    assert (report.thresholds, report.notes) == (expected.thresholds, ())


def test_the_written_predictions_give_the_same_report_again(draw: Draw, tmp_path: Path) -> None:
    write(both_splits(draw), tmp_path / "p.csv")
    how = Eval(threshold="youden", draws=100)
    report, found = score_files([tmp_path / "p.csv"], how)
    evaluation.write(report, found.rows, found.evaluated, tmp_path / "eval")
    again, _ = score_files([tmp_path / "eval" / "predictions.csv"], how)
    pd.testing.assert_frame_equal(again.table, report.table)


def test_a_file_in_two_parts_joined_again_changes_no_figure(draw: Draw, tmp_path: Path) -> None:
    write(both_splits(draw), tmp_path / "p.csv")
    header, *lines = (tmp_path / "p.csv").read_text().splitlines()
    (tmp_path / "joined.csv").write_text("\n".join([header, *lines[70:], *lines[:70]]) + "\n")
    whole, joined = (score_files([tmp_path / name], Eval(draws=100))[0] for name in ("p.csv", "joined.csv"))
    pd.testing.assert_frame_equal(joined.table, whole.table, check_exact=True)
    pd.testing.assert_frame_equal(joined.summary, whole.summary, check_exact=True)


@pytest.mark.parametrize("change", [np.sqrt, lambda p: p**3, lambda p: 0.2 + 0.5 * p])
def test_a_monotone_map_of_the_scores_changes_no_ranking_figure(
    draw: Draw, change: Callable[[Float], Float]
) -> None:
    predictions = draw(200)
    mapped = replace(predictions, p=change(predictions.p))
    first, second = (
        score(own, fixed(own.findings), config=Eval(draws=100)).table for own in (predictions, mapped)
    )
    ranking = [f"{figure}{end}" for figure in ("auroc", "average_precision") for end in ("", "_low", "_high")]
    pd.testing.assert_frame_equal(first[ranking], second[ranking], check_exact=True)


def test_a_file_without_validation_rows_is_not_tuned(draw: Draw, tmp_path: Path) -> None:
    write(draw(60), tmp_path / "p.csv")
    report, _ = score_files([tmp_path / "p.csv"], NO_INTERVALS)
    assert set(report.thresholds.values) == {0.5}
    assert report.notes == (
        "thresholds are not tuned: there are no validation rows; give some with --validation FILE",
    )
    assert score_files([tmp_path / "p.csv"], Eval(threshold=0.3, interval="none"))[0].notes == ()


def test_tuning_on_the_evaluated_rows_must_be_asked_for_and_is_marked(draw: Draw, tmp_path: Path) -> None:
    write(draw(60), tmp_path / "p.csv")
    report, _ = score_files([tmp_path / "p.csv"], NO_INTERVALS, tune_on_test=True)
    assert report.thresholds.values == choose(draw(60), "f1").values
    assert report.optimistic
    assert "thresholds were chosen on 60 of the 60 images evaluated here" in report.notes[0]
    assert report.calibrated_on == ""


def test_thresholds_come_from_the_validation_file(draw: Draw, tmp_path: Path) -> None:
    write(draw(60), tmp_path / "p.csv")
    write(draw(50, findings=("Hernia", "Edema", "Mass"), split="val"), tmp_path / "val.csv")
    report, _ = score_files([tmp_path / "p.csv"], NO_INTERVALS, validation=tmp_path / "val.csv")
    expected = choose(draw(50, findings=("Hernia", "Edema", "Mass"), split="val"), "f1").values
    assert report.thresholds.values == expected[::-1]
    assert (report.optimistic, report.calibrated_on) == (False, "validation rows (50 images, 17 patients)")


def test_what_is_noted_of_the_validation_file_is_in_the_report(draw: Draw, tmp_path: Path) -> None:
    write(draw(60), tmp_path / "p.csv")
    write(draw(50, split="val"), tmp_path / "val.csv")
    text = (tmp_path / "val.csv").read_text()
    (tmp_path / "val.csv").write_text(text + text.splitlines()[1] + "\n")  # a row twice
    report, _ = score_files([tmp_path / "p.csv"], NO_INTERVALS, validation=tmp_path / "val.csv")
    assert any(note.startswith(f"{tmp_path / 'val.csv'}: ") for note in report.notes)


def test_evaluated_images_in_the_validation_file_are_refused(draw: Draw, tmp_path: Path) -> None:
    write(draw(60), tmp_path / "p.csv")
    write(draw(10), tmp_path / "val.csv")
    with pytest.raises(
        CxrError, match=r"val.csv: 10 of its images are evaluated too, the first test_0000.png"
    ):
        score_files([tmp_path / "p.csv"], NO_INTERVALS, validation=tmp_path / "val.csv")


def test_a_patient_in_validation_and_evaluated_rows_is_noted(draw: Draw, tmp_path: Path) -> None:
    every = both_splits(draw)
    every.rows.loc[0:4, "patient_id"] = "test_0000"
    write(every, tmp_path / "p.csv")
    report, _ = score_files([tmp_path / "p.csv"], NO_INTERVALS)
    assert report.notes == ("thresholds were chosen on other images of 1 patients who are evaluated here",)


def test_several_files_are_averaged(draw: Draw, tmp_path: Path) -> None:
    first = draw(60)
    write(first, tmp_path / "a.csv")
    write(replace(first, p=first.p**2), tmp_path / "b.csv")
    report, found = score_files([tmp_path / "a.csv", tmp_path / "b.csv"], NO_INTERVALS)
    np.testing.assert_allclose(found.rows.p, (first.p + first.p**2) / 2, rtol=1e-15)
    assert dict(report.about)["ensemble"] == "mean of the probabilities of 2 models"


def test_labels_of_another_file_are_named_with_their_policy(draw: Draw, tmp_path: Path) -> None:
    write(draw(2, ("Mass",)), tmp_path / "p.csv")
    labels = tmp_path / "labels.csv"
    labels.write_text("image,Mass\ntest_0000.png,1\ntest_0001.png,0\n")
    report, found = score_files([tmp_path / "p.csv"], NO_INTERVALS, labels)
    assert found.rows.y.tolist() == [[1], [0]]
    assert dict(report.about)["labels"] == f"{labels} (uncertain cells unknown, blank cells negative)"


def test_without_patients_intervals_are_over_images_and_say_so(draw: Draw) -> None:
    predictions = draw(200)
    predictions.rows["patient_id"] = ""
    report = score(predictions, fixed(predictions.findings), config=Eval(draws=100))
    assert report.intervals == "bootstrap over 200 images (100 draws, seed 0)"
    assert report.notes[0].startswith("no image has patient_id, so images were drawn")
    predictions.rows.loc[3:, "patient_id"] = "1"
    assert (
        score(predictions, fixed(predictions.findings), config=Eval(draws=100))
        .notes[0]
        .startswith("3 images have no")
    )


def test_one_patient_has_no_interval(draw: Draw) -> None:
    predictions = draw(50)
    predictions.rows["patient_id"] = "1"
    report = score(predictions, fixed(predictions.findings), config=Eval(draws=100))
    assert (report.intervals, report.notes[0]) == (
        "",
        "no intervals: there is only one of the patients to draw from",
    )


def test_delong_gives_intervals_to_auroc_alone(draw: Draw) -> None:
    report = score(draw(200), fixed(("Mass", "Edema", "Hernia")), config=Eval(interval="delong"))
    assert report.table["auroc_low"].notna().all()
    assert report.table["f1_low"].isna().all()
    assert report.intervals.startswith("DeLong's variance")


def test_the_five_of_chexpert_have_a_mean_of_their_own(draw: Draw) -> None:
    report = score(draw(200, CHEXPERT_14), fixed(CHEXPERT_14))
    five = report.table[report.table["finding"].isin(CHEXPERT_5)]
    assert report.summary["finding"].tolist() == [MEAN, MEAN_5, MICRO]
    assert report.summary["auroc"][1] == pytest.approx(five["auroc"].mean())
    assert score(draw(200, CHEXPERT_5), fixed(CHEXPERT_5)).summary["finding"].tolist() == [MEAN, MICRO]


def test_micro_ravels_every_known_cell(draw: Draw) -> None:
    predictions = draw(200)
    thresholds = choose(draw(100, split="val"), "f1")
    micro = score(predictions, thresholds).summary.iloc[-1]
    known = ~np.isnan(predictions.y)
    called = predictions.p >= np.array(thresholds.values)
    assert micro["auroc"] == roc_auc_score(predictions.y[known], predictions.p[known])
    assert micro["f1"] == pytest.approx(f1_score(predictions.y[known], called[known]))
