from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.predictions import Predictions, read

FINDINGS = ("Edema", "Effusion", "COVID-19", "blurred hilum")


@pytest.fixture
def truth() -> pd.DataFrame:
    draws = np.random.default_rng(3)
    y = draws.random((60, len(FINDINGS))) < 0.4
    p = np.clip(y * 0.3 + draws.random(y.shape) * 0.7, 0, 1).round(3)
    frame = pd.DataFrame(
        {"image": [f"a{row}.png" for row in range(60)], "patient_id": [f"P{n // 4}" for n in range(60)]}
    )
    return frame.assign(**{f"y_{f}": y[:, c].astype(int) for c, f in enumerate(FINDINGS)},
                        **{f"p_{f}": p[:, c] for c, f in enumerate(FINDINGS)})  # fmt: skip


def table_of(frame: pd.DataFrame, path: Path) -> Path:
    """A table of labels under the findings' own names."""
    names = {f"y_{name}": name for name in FINDINGS}
    frame[["image", *names]].rename(columns=names).to_csv(path, index=False)
    return path


def renamed(frame: pd.DataFrame, path: Path, columns: Sequence[str]) -> Path:
    """Predictions whose columns of probabilities have other names."""
    named = dict(zip([f"p_{name}" for name in FINDINGS], columns, strict=True))
    frame[["image", *named]].rename(columns=named).to_csv(path, index=False)
    return path


def check(predictions: Predictions, frame: pd.DataFrame) -> None:
    assert predictions.findings == FINDINGS
    for c, name in enumerate(FINDINGS):
        expected = roc_auc_score(frame[f"y_{name}"], frame[f"p_{name}"])
        assert roc_auc_score(predictions.y[:, c], predictions.p[:, c]) == expected


@pytest.mark.parametrize(
    "columns",
    [FINDINGS, ("Edema", "p_Effusion", "COVID-19", "blurred hilum"),
     ("edema", "Pleural_Effusion", "covid 19", "p_blurred hilum"),
     [f"{name}_prob" for name in FINDINGS], ["p_Edema", "effusion Probability", "COVID-19-PROB", "Blurred Hilum.prob"]],
)  # fmt: skip
def test_every_finding_that_a_table_labels_is_evaluated_whatever_its_column_is_called(
    truth: pd.DataFrame, tmp_path: Path, columns: Sequence[str]
) -> None:
    predictions = read(renamed(truth, tmp_path / "p.csv", columns), table_of(truth, tmp_path / "l.csv"))
    found = Predictions(predictions.rows, FINDINGS, predictions.y, predictions.p)
    check(found, truth)
    assert len(predictions.findings) == 4 and not any("not taken" in note for note in predictions.notes)


def test_bare_columns_are_evaluated_beside_y_columns_and_a_column_of_classes(
    truth: pd.DataFrame, tmp_path: Path
) -> None:
    truth.rename(columns={f"p_{name}": name for name in FINDINGS[1:]}).to_csv(tmp_path / "p.csv", index=False)
    check(read(tmp_path / "p.csv"), truth)
    (tmp_path / "c.csv").write_text(
        "image,p_Edema,covid,hilum,label\na,0.1,0.9,0.3,covid\nb,0.7,0.1,0.2,hilum\n"
    )
    assert read(tmp_path / "c.csv").y.tolist() == [[0, 1, 0], [0, 0, 1]]


def test_columns_that_may_be_probabilities_and_are_not_taken_are_named(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(
        "image,p_Mass,y_Mass,Mass,Edema,Hernia_prob,site,age\na,0.5,1,1,0.5,0.5,x,50\n"
    )
    predictions = read(tmp_path / "p.csv")
    assert predictions.findings == ("Mass",) and predictions.p.tolist() == [[0.5]]
    assert "not taken for probabilities: Mass, Edema, Hernia_prob; p_X" in predictions.notes[0]


def test_matters_that_both_tables_hold_are_no_findings(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("image,Mass,smoked,site\na,1,1,3\nb,0,0,4\n")
    (tmp_path / "p.csv").write_text("image,p_Mass,smoked,site\na,0.5,1,3\nb,0.1,0,4\n")
    predictions = read(tmp_path / "p.csv", tmp_path / "l.csv")
    assert predictions.findings == ("Mass",) and "smoked" in predictions.notes[0]


@pytest.mark.parametrize("column", ["Set", "fold", "SUBSET", "Split"])
def test_the_split_is_found_under_its_usual_names(tmp_path: Path, column: str) -> None:
    (tmp_path / "p.csv").write_text(f"image,p_Mass,y_Mass,{column}\na,0.5,1,Train\nb,0.1,0,Test\nc,0.2,0,\n")
    assert read(tmp_path / "p.csv").rows["split"].tolist() == ["train", "test", ""]


def test_a_fold_of_numbers_is_no_split_and_a_blank_split_hides_no_other(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,p_Mass,y_Mass,split,fold,Set\na,0.5,1,,0,TEST\nb,0.1,0,,1,valid\n")
    rows = read(tmp_path / "p.csv").rows
    assert rows["fold"].tolist() == ["0", "1"] and rows["split"].tolist() == ["test", "val"]


def test_a_split_of_words_and_others_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("image,p_Mass,y_Mass,Set\na,0.5,1,Train\nb,0.1,0,Tset\n")
    with pytest.raises(CxrError, match=r"p\.csv:3: Set is 'Tset'"):
        read(tmp_path / "p.csv")


@pytest.mark.parametrize(
    "column", ["Study ID", "AccessionNumber", "StudyInstanceUID", "study", "exam_id", "study_id"]
)
def test_the_study_is_found_under_its_usual_names(tmp_path: Path, column: str) -> None:
    (tmp_path / "p.csv").write_text(f"image,p_Mass,y_Mass,{column}\na,0.5,1, 007 \nb,0.1,0,7\n")
    assert read(tmp_path / "p.csv").rows["study_id"].tolist() == ["007", "7"]


@pytest.mark.parametrize("column", ["patient_id", "AccessionNumber", "image"])
def test_rounded_ids_are_refused_in_predictions_and_in_their_labels(tmp_path: Path, column: str) -> None:
    first = [] if column == "image" else ["image"]
    for name, findings in (("p.csv", ["p_Mass"]), ("l.csv", ["Mass"])):
        columns = [*first, column, *findings]
        rows = [[*(f"{name}" for _ in first), f"1.23{n}E+15", str(n)] for n in (0, 1)]
        (tmp_path / name).write_text("\n".join(",".join(cells) for cells in [columns, *rows]) + "\n")
    with pytest.raises(CxrError) as error:
        read(tmp_path / "p.csv", tmp_path / "l.csv")
    text = error.value.render()
    for name in ("p.csv", "l.csv"):
        assert f"{name}:2: {column} is '1.230E+15', a rounded number" in text


def test_words_of_one_concept_are_one_finding_and_others_are_counted(tmp_path: Path) -> None:
    cells = ["Edema|Pleural Effusion", "effusion", "Edemma", "Edemma|No Finding", ""]
    rows = [f"a{n},0.{n + 1},0.{n + 1},{cell}" for n, cell in enumerate(cells)]
    (tmp_path / "p.csv").write_text("\n".join(["image,p_Effusion,p_Edema,finding", *rows]) + "\n")
    (tmp_path / "l.csv").write_text("\n".join(["image,a,b,finding", *rows]) + "\n")
    for labels in (None, tmp_path / "l.csv"):
        predictions = read(tmp_path / "p.csv", labels, "masked", options=LabelOptions("finding"))
        np.testing.assert_equal(predictions.y.T, [[1, 1, 0, 0, np.nan], [1, 0, 0, 0, np.nan]])
        assert any(
            "finding that are none of the findings here: Edemma (2 rows)" in note
            for note in predictions.notes
        )
