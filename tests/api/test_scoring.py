import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import cxr
from cxr.evaluation.predictions import Predictions, as_table, write
from tests.helpers.commands import call
from tests.helpers.predictions import draw_predictions

QUICK = ("eval.draws=100",)


def both(*parts: Predictions) -> pd.DataFrame:
    return pd.concat([as_table(part) for part in parts], ignore_index=True)


def metrics(report: cxr.Report) -> str:
    return pd.concat([report.table, report.summary]).to_csv(index=False)


def of_command(tmp_path: Path, *arguments: str | Path) -> str:
    assert call("eval", *arguments, *QUICK, "--out", tmp_path / "report") == 0
    table = pd.read_csv(tmp_path / "report" / "metrics.csv", dtype=str, keep_default_na=False)
    return table.drop(columns="optimistic").to_csv(index=False)


def test_a_frame_has_the_numbers_of_its_file(tmp_path: Path) -> None:
    frame = both(draw_predictions(120), draw_predictions(60, split="val", seed=1))
    frame.to_csv(tmp_path / "p.csv", index=False)
    report = cxr.score(frame, overrides=QUICK)
    assert metrics(report) == of_command(tmp_path, tmp_path / "p.csv")
    assert metrics(cxr.score(str(tmp_path / "p.csv"), overrides=QUICK)) == metrics(report)
    assert report.evaluated_on == "test rows (120 images, 40 patients)"
    assert report.mean_auroc == report.table["auroc"].mean() == report.summary["auroc"][0]
    assert repr(report) == f"<cxr.Report of {report.evaluated_on}: mean AUROC {report.mean_auroc:.3f}>"


def test_labels_and_validation_may_be_frames(tmp_path: Path) -> None:
    test, val = as_table(draw_predictions(120)), as_table(draw_predictions(60, split="val", seed=1))
    labels = pd.concat([test, val])[["image", "y_Mass", "y_Edema", "y_Hernia"]]
    tables = [table.drop(columns=labels.columns[1:]) for table in (test, val)] + [labels]
    names = ("test", "val", "labels")
    for name, table in zip(names, tables, strict=True):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    report = cxr.score(tables[0], tables[2], validation=tables[1], overrides=QUICK)
    t, v, y = (tmp_path / f"{name}.csv" for name in names)
    assert metrics(report) == of_command(tmp_path, t, "--labels", y, "--validation", v)


def test_numbers_need_not_be_text() -> None:
    drawn = draw_predictions(60)
    frame = pd.read_csv(io.StringIO(as_table(drawn).to_csv(index=False)))
    assert frame["y_Mass"].dtype == float
    assert metrics(cxr.score(frame, overrides=QUICK)) == metrics(cxr.score(as_table(drawn), overrides=QUICK))


def test_what_predict_gives_is_scored_beside_its_labels(run: Path, nih_root: Path, tmp_path: Path) -> None:
    table = cxr.load(run).predict(nih_root / "images")
    assert call("predict", run, nih_root / "images", "--out", tmp_path / "p.csv") == 0
    labels = nih_root / "Data_Entry_2017_v2020.csv"
    report = cxr.score(table, labels, overrides=QUICK)
    assert len(report.table) == 14
    assert metrics(report) == metrics(cxr.score(tmp_path / "p.csv", labels, overrides=QUICK))


@pytest.mark.figures
def test_the_page_and_the_json_are_those_of_the_command(tmp_path: Path) -> None:
    predictions = draw_predictions(60)
    write(predictions, tmp_path / "predictions.csv")
    of_command(tmp_path, tmp_path / "predictions.csv")
    report = cxr.score(as_table(predictions), overrides=QUICK)
    json = report.to_json(tmp_path / "x.json")
    assert (tmp_path / "x.json").read_text() == json
    named = (tmp_path / "report" / "report.json").read_text()
    assert json == named.replace(
        f'"predictions": "{tmp_path / "predictions.csv"}"', '"predictions": "predictions"'
    )
    page = report.to_html(tmp_path / "x.html")
    assert (tmp_path / "x.html").read_text() == page
    assert page.count("<svg") + page.count("data:image") >= 4
    assert "Evaluation of predictions" in page


def test_notes_name_arguments() -> None:
    report = cxr.score(as_table(draw_predictions(60)), overrides=["eval.interval=none"])
    assert any(note.endswith("no validation rows; give some with validation=") for note in report.notes)


def test_mistakes_name_the_argument_and_the_line() -> None:
    frame = as_table(draw_predictions(9))
    with pytest.raises(cxr.CxrError, match=r"^predictions:1: no image column"):
        cxr.score(frame.drop(columns="image"))
    with pytest.raises(cxr.CxrError, match=r"^predictions:4: p_Mass is 1.5, no probability"):
        cxr.score(frame.assign(p_Mass=np.where(np.arange(9) == 2, 1.5, frame["p_Mass"])))
    with pytest.raises(cxr.CxrError, match=r"give a CSV of labels with labels=, a column"):
        cxr.score(frame[["image", "p_Mass"]])
    with pytest.raises(cxr.CxrError, match="predictions: no rows"):
        cxr.score(frame[:0])
    with pytest.raises(cxr.CxrError, match="labels: labels none of Mass, Edema, Hernia"):
        cxr.score(frame, frame[["image", "y_Mass"]].rename(columns={"y_Mass": "y_Fibrosis"}))
    with pytest.raises(cxr.CxrError, match="column 'image' is there twice"):
        cxr.score(pd.concat([frame, frame["image"]], axis=1))
    with pytest.raises(cxr.CxrError, match=r"unknown key eval\.treshold"):
        cxr.score(frame, overrides=["eval.treshold=0.3"])
