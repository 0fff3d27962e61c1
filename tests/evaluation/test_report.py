import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from cxr.data.findings import CHEXPERT_14, NIH_14
from cxr.evaluation import metrics
from cxr.evaluation.predictions import Predictions, write
from cxr.evaluation.report import Report, macro_auroc, render_markdown, render_terminal, score, score_file
from cxr.evaluation.report import write as write_report
from cxr.evaluation.thresholds import choose, fixed

Draw = Callable[..., Predictions]
HEADER = "finding,num,num_positive,auroc,average_precision,f1,threshold,sensitivity,specificity"


def small() -> Report:
    """Mass: right but for one of four; Hernia: no positive; the thresholds come from two other images."""
    y = np.array([[1, 0], [1, 0], [0, 0], [0, np.nan]])
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.3], [0.001, 0.2]])
    rows = pd.DataFrame({"image": list("abcd"), "patient_id": list("1123"), "split": "test", "view": "", "sex": ""})
    test = Predictions(rows.assign(age=np.nan), ("Mass", "Hernia"), y, p)
    val = Predictions(test.rows.iloc[:2].assign(image=["e", "f"], split="val"), test.findings, y[1:3], p[1:3, ::-1])
    return score(test, choose(val, "f1"), {"run": "runs/small | first"})


def shown(report: Report, width: int = 80) -> list[str]:
    console = Console(width=width, file=io.StringIO())
    with console.capture() as capture:
        console.print(render_terminal(report))
    return capture.get().splitlines()


def test_the_markdown_page_reads_well() -> None:
    assert (
        render_markdown(small())
        == """# Evaluation

| About |  |
| --- | --- |
| run | runs/small \\| first |
| thresholds | best F1 on validation rows (2 images, 1 patient) |
| judged on | test rows (4 images, 3 patients) |

| Finding | Images | Positive | AUROC | Average precision | F1 | Threshold | Sensitivity | Specificity |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| Mass | 4 | 2 | 0.750 | 0.833 | 0.500 | 0.450 | 0.500 | 0.500 |
| Hernia | 3 | 0 | n/a | n/a | n/a | 0.500 | n/a | 0.667 |
| **mean** | **4** |  | **0.750** | **0.833** | **0.500** |  | **0.500** | **0.583** |

- n/a, no positive image: Hernia
- the mean AUROC is over 1 of 2 findings
- threshold 0.5, since the rows it is chosen on hold one class only: Hernia

Research tool, not a medical device.
"""
    )


def test_the_terminal_table_reads_well() -> None:
    text = "\n".join(line.rstrip() for line in shown(small()))
    assert (
        text
        == """Scored on test rows (4 images, 3 patients)

                               Avg.
Finding  Images  Pos.  AUROC  prec.     F1  Thresh.  Sens.  Spec.
─────────────────────────────────────────────────────────────────
Mass          4     2  0.750  0.833  0.500    0.450  0.500  0.500
Hernia        3     0    n/a    n/a    n/a    0.500    n/a  0.667
─────────────────────────────────────────────────────────────────
mean          4        0.750  0.833  0.500           0.500  0.583

Thresholds: best F1 on validation rows (2 images, 1 patient); judged on test
rows.
Note: n/a, no positive image: Hernia
Note: the mean AUROC is over 1 of 2 findings
Note: threshold 0.5, since the rows it is chosen on hold one class only: Hernia
Research tool, not a medical device."""
    )


@pytest.mark.parametrize(("findings", "width"), [(NIH_14, 80), (CHEXPERT_14, 100)])
def test_the_terminal_table_cuts_and_folds_nothing(draw: Draw, findings: tuple[str, ...], width: int) -> None:
    report = score(draw(30, findings), fixed(findings))
    table = report.table.assign(num=112_120, num_positive=111_111)
    text = "\n".join(shown(replace(report, table=table), width))
    assert "…" not in text
    assert all(finding in text for finding in findings)


def test_long_findings_fold_at_80_columns(draw: Draw) -> None:
    report = score(draw(30, CHEXPERT_14), fixed(CHEXPERT_14))
    lines = shown(replace(report, table=report.table.assign(num=112_120, num_positive=111_111)))
    at = next(place for place, line in enumerate(lines) if line.startswith("Enlarged "))
    assert lines[at].split()[1:3] == ["112,120", "111,111"]
    assert lines[at + 1].strip() == "Cardiomediastinum"
    assert not any("…" in line for line in lines)


def test_figures_are_those_of_the_metrics(draw: Draw) -> None:
    predictions = draw(300)
    report = score(predictions, fixed(predictions.findings, 0.3))
    y, p = predictions.y[:, 1], predictions.p[:, 1]
    row = report.table.iloc[1]
    assert (row.num, row.num_positive) == metrics.count(y)
    assert (row.auroc, row.average_precision) == (metrics.auroc(y, p), metrics.average_precision(y, p))
    assert (row.f1, row.sensitivity, row.specificity) == metrics.at_threshold(y, p, 0.3)
    assert macro_auroc(report) == pytest.approx(report.table["auroc"].iloc[:3].mean())


def test_the_order_of_rows_changes_no_figure(draw: Draw) -> None:
    predictions = draw(300)
    thresholds = choose(draw(100, split="val", seed=1), "f1")
    mixed = predictions.select(np.random.default_rng(0).permutation(300))
    pd.testing.assert_frame_equal(score(mixed, thresholds).table, score(predictions, thresholds).table)


def test_nothing_known_is_a_report_of_counts(draw: Draw) -> None:
    predictions = draw(5, ("Mass",))
    predictions.y[:] = np.nan
    report = score(predictions, choose(predictions.select(np.array([], int)), "f1"))
    assert np.isnan(macro_auroc(report))
    assert report.table["num"].tolist() == [0, 5]
    assert "n/a, no image with a known label: Mass" in report.notes


def test_thresholds_chosen_on_judged_rows_are_marked(draw: Draw) -> None:
    val, test = draw(100, split="val"), draw(100)
    what = "100 of the 100 images judged here, so F1, sensitivity and specificity are optimistic"
    assert score(val, choose(val, "f1")).notes[0] == f"thresholds were chosen on {what}"
    assert score(test, choose(val, "f1")).notes == ()


def test_four_files_are_written(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(50)
    predictions.y[:, 2] = 0
    write_report(score(predictions, fixed(predictions.findings)), predictions, tmp_path / "eval")
    names = ["metrics.csv", "predictions.csv", "report.json", "report.md"]
    assert sorted(file.name for file in (tmp_path / "eval").iterdir()) == names
    lines = (tmp_path / "eval" / "metrics.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[3].startswith("Hernia,50,0,,,,0.5,,")
    assert lines[4].startswith("mean,50,,0.")


def test_metrics_csv_keeps_every_digit(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(50)
    report = score(predictions, choose(predictions, "youden"))
    write_report(report, predictions, tmp_path)
    table = pd.read_csv(tmp_path / "metrics.csv", dtype=str)
    assert [float(cell) for cell in table["auroc"]] == report.table["auroc"].tolist()
    assert [float(cell) for cell in table["threshold"][:3]] == list(report.thresholds.values)


def test_report_json_is_strict(tmp_path: Path, draw: Draw) -> None:
    write_report(small(), draw(2), tmp_path)
    text = (tmp_path / "report.json").read_text()
    document = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    assert list(document) == ["about", "thresholds", "metrics", "mean", "notes", "versions", "disclaimer"]
    assert document["thresholds"] == {
        "rule": "f1",
        "chosen_on": "validation rows (2 images, 1 patient)",
        "judged_on": "test rows (4 images, 3 patients)",
        "fallback": ["Hernia"],
    }
    assert [row["auroc"] for row in document["metrics"]] == [0.75, None]
    assert document["mean"]["num_positive"] is None
    assert set(document["versions"]) == {"cxr", "python", "numpy", "scikit-learn"}


def both_splits(draw: Draw) -> Predictions:
    val, test = draw(60, split="val", seed=1), draw(90)
    rows = pd.concat([val.rows, test.rows], ignore_index=True)
    return Predictions(rows, val.findings, np.concatenate([val.y, test.y]), np.concatenate([val.p, test.p]))


def test_a_file_of_two_splits_is_tuned_on_validation_and_judged_on_test_rows(draw: Draw, tmp_path: Path) -> None:
    write(both_splits(draw), tmp_path / "p.csv")
    report, predictions = score_file(tmp_path / "p.csv")
    assert (report.judged_on, len(predictions)) == ("test rows (90 images, 30 patients)", 150)
    expected = score(draw(90), choose(draw(60, split="val", seed=1), "f1"))
    pd.testing.assert_frame_equal(report.table, expected.table)
    assert (report.thresholds, report.notes) == (expected.thresholds, ())


def test_the_written_predictions_give_the_same_report_again(draw: Draw, tmp_path: Path) -> None:
    write(both_splits(draw), tmp_path / "p.csv")
    report, predictions = score_file(tmp_path / "p.csv", rule="youden")
    write_report(report, predictions, tmp_path / "eval")
    again, _ = score_file(tmp_path / "eval" / "predictions.csv", rule="youden")
    pd.testing.assert_frame_equal(again.table, report.table)


def test_a_file_without_validation_rows_is_not_tuned(draw: Draw, tmp_path: Path) -> None:
    write(draw(60), tmp_path / "p.csv")
    report, _ = score_file(tmp_path / "p.csv")
    assert set(report.thresholds.values) == {0.5}
    assert report.notes == ("thresholds are not tuned: the file has no rows of split val beside rows of split test",)
    assert score_file(tmp_path / "p.csv", rule=0.3)[0].notes == ()


def test_labels_of_another_file_are_named_with_their_policy(draw: Draw, tmp_path: Path) -> None:
    write(draw(2, ("Mass",)), tmp_path / "p.csv")
    labels = tmp_path / "labels.csv"
    labels.write_text("image,Mass\ntest_0000.png,1\ntest_0001.png,0\n")
    report, predictions = score_file(tmp_path / "p.csv", labels)
    assert predictions.y.tolist() == [[1], [0]]
    assert dict(report.about)["labels"] == f"{labels} (uncertain cells unknown, blank cells negative)"


def test_scoring_in_training_takes_no_time(draw: Draw) -> None:
    predictions = draw(10_000, NIH_14)
    score(draw(10, NIH_14), fixed(NIH_14))  # imports scikit-learn
    started = time.process_time()
    score(predictions, choose(predictions, "f1"))
    assert time.process_time() - started < 1  # measured 0.2 s


def test_the_evaluation_room_imports_no_torch() -> None:
    rooms = ", ".join(f"cxr.evaluation.{name}" for name in ("join", "metrics", "predictions", "report", "thresholds"))
    code = f"import sys, {rooms}; print([name for name in ('torch', 'sklearn', 'rich') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
