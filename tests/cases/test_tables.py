"""The reported cases of tables, each with its right value; their sources are told in the cases' own READMEs."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cxr.cli import main
from cxr.config.schema import Data
from cxr.data.dataset import keep_rows
from cxr.errors import CxrError
from cxr.evaluation.join import LabelOptions
from cxr.evaluation.predictions import Predictions
from cxr.evaluation.predictions import read as read_predictions
from cxr.evaluation.report import score
from cxr.evaluation.thresholds import fixed
from cxr.evaluation.units import combine
from cxr.labels.sources import read
from cxr.labels.splits import assign
from cxr.labels.table import LabelTable
from tests.helpers.fakes import write_lines

Table = Callable[..., LabelTable]


@pytest.fixture
def images(cases: Path, tmp_path: Path) -> Path:
    """64 images a0.png to a63.png, and 20 of them again in im/."""
    twenty = sorted((cases / "04-finding-column-dropped/im").iterdir())
    for number in range(64):
        shutil.copyfile(twenty[number % 20], tmp_path / f"a{number}.png")
    shutil.copytree(cases / "04-finding-column-dropped/im", tmp_path / "im")
    return tmp_path


def table_of(root: Path, csv: Path | str | None, **keys: object) -> LabelTable:
    return read(data_of(root, csv, **keys))


def data_of(root: Path, csv: Path | str | None, **keys: object) -> Data:
    return Data.model_validate({"source": "table", "root": root, "csv": csv, "split": "random"} | keys)


def aurocs(predictions: Predictions) -> list[float]:
    report = score(predictions, fixed(predictions.findings))
    return [round(float(value), 3) for value in [*report.table["auroc"], report.summary["auroc"].iloc[0]]]


def test_02_patients_with_blanks_around_them(cases: Path, images: Path) -> None:
    csv = cases / "02-patient-id-spaces/labels.csv"
    table = table_of(images, csv)
    assert table.rows["patient_id"].value_counts().to_dict() == {f"p{n}": 2 for n in range(20)}
    assign(table, data_of(images, csv))  # which refuses a patient in two splits


def test_02_a_big_table_with_leaks_has_them_named(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blanks = ("", " ", "\u00a0")
    lines = ["image,patient_id,Edema,split"]
    for row in range(64):
        patient = f"{blanks[row % 3]}p{row % 24}{blanks[row % 2]}"
        lines.append(
            f"a{row}.png,{patient},{row % 2},{'test' if row in (24, 30) else ('train', 'val')[row % 24 // 12]}"
        )
    write_lines(images / "big.csv", lines)
    recipe = tmp_path / "big.yaml"
    recipe.write_text(f"data: {{source: table, root: {images}, csv: big.csv, split: column}}\n")
    with pytest.raises(SystemExit) as ended:
        main(["check", str(recipe), "--quick", "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert ended.value.code == 1 and "leak: patients in more than one split: 2" in said.out
    assert all(f"patient {name} is in train and test" in said.err for name in ("p0", "p6"))


@pytest.mark.parametrize("name", ["bool", "yes"])
def test_04_words_are_labels(cases: Path, name: str) -> None:
    root = cases / "04-finding-column-dropped"
    table = table_of(root, f"{name}.csv")
    assert table.findings == ("Edema", "Effusion") and (table.raw == 1).sum(axis=0).tolist() == [10, 10]


@pytest.mark.parametrize(("name", "what"), [("two", "'2', no label"), ("prob", "'0.25', a soft label")])
def test_04_other_cells_are_asked_about(cases: Path, name: str, what: str) -> None:
    with pytest.raises(CxrError, match=rf"{name}\.csv:2: Edema is {re.escape(what)}"):
        table_of(cases / "04-finding-column-dropped", f"{name}.csv")


@pytest.mark.parametrize("name", ["12-predictions-bare-column-dropped/bare", "12-predictions-bare-column-dropped/base",
                                  "21-csv-dialects/predictions_semi", "28-metrics-edges/bool",
                                  "28-metrics-edges/filename"])  # fmt: skip
def test_12_21_28_every_column_of_the_predictions_counts(cases: Path, name: str) -> None:
    assert aurocs(read_predictions(cases / f"{name}.csv")) == [0.862, 0.828, 0.888, 0.859]


def test_13_rsnas_boxes_are_a_row_per_image(cases: Path) -> None:
    table = table_of(cases / "13-rsna-boxes", "stage_2_train_labels.csv")
    assert len(table) == 24 and (table.rows["path"] != "").all() and table.findings == ("Target",)
    assert [(table.raw == value).sum() for value in (1, 0)] == [8, 16]


def test_14_kaggles_table_of_vindr_is_read_by_its_reader_and_named_by_others(cases: Path) -> None:
    root = cases / "14-vindr-kaggle"
    table = table_of(root, None, source="vindr", split="official")
    assert len(table) == 30 and (table.rows["path"] != "").all()
    assert (table.raw[:, table.findings.index("No Finding")] == 1).sum() == 10
    with pytest.raises(CxrError) as error:
        table_of(root, "train.csv")
    assert "data.source=vindr reads" in error.value.hint


def test_15_folders_are_classes(cases: Path) -> None:
    root = cases / "15-folders-as-classes"
    table = table_of(root, None, source="folder", split="official")
    assert table.findings == ("Pneumonia", "No Finding") and len(table) == 44
    assert table.rows["split"].value_counts().to_dict() == {"train": 24, "test": 12, "val": 8}
    assert {"person0", "person100"} <= set(table.rows["patient_id"])


@pytest.mark.parametrize(
    ("name", "column", "positive"),
    [("multi", "label", {"covid": 10, "Pneumonia": 10, "No Finding": 10}),
     ("pipes", "labels", {"Edema": 10, "Effusion": 15, "Mass": 10})],
)  # fmt: skip
def test_16_words_in_a_column_are_findings(
    cases: Path, images: Path, name: str, column: str, positive: dict[str, int]
) -> None:
    csv = cases / f"16-one-column-of-classes/{name}.csv"
    with pytest.raises(CxrError, match="no label column") as error:
        table_of(images, csv)
    assert f"data.columns.labels={column}" in error.value.hint
    table = table_of(images, csv, columns={"labels": column})
    counts = dict(zip(table.findings, (table.raw == 1).sum(axis=0).tolist(), strict=True))
    assert len(table) == 30 and positive.items() <= counts.items()


def test_16_a_softmax_is_evaluated_on_its_column_of_classes(cases: Path) -> None:
    predictions = read_predictions(cases / "16-one-column-of-classes/softmax.csv")
    assert predictions.findings == ("covid", "No Finding", "Pneumonia") and not np.isnan(predictions.y).any()
    assert (predictions.y.sum(axis=1) == 1).all()


def test_17_labels_of_studies_are_joined_to_their_images(cases: Path, images: Path) -> None:
    folder = cases / "17-study-level"
    for number in range(20):
        shutil.copytree(images / "im", images / f"s{number}")
    table = table_of(images, folder / "studies.csv")
    assert (
        len(table) == 400
        and table.rows["study_id"].nunique() == 20
        and table.rows["patient_id"].nunique() == 10
    )
    predictions = read_predictions(folder / "chex_pred.csv", folder / "chex_study.csv")
    assert len(predictions) == 200
    assert aurocs(combine(predictions, "study", "max"))[:3] == [0.777, 0.801, 0.705]
    assert aurocs(combine(predictions, "study", "mean"))[:3] == [0.787, 0.769, 0.704]


@pytest.mark.parametrize("name", ["back", "bare", "bom", "comma", "dot", "latin", "noext", "semi", "space", "tab",
                                  "trail", "utf16"])  # fmt: skip
def test_21_dialects_are_read(cases: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    shutil.copytree(cases / "04-finding-column-dropped/im", root / "im")
    table = table_of(root, cases / f"21-csv-dialects/{name}.csv")
    assert len(table) == (table.rows["path"] != "").sum() == (table.raw == 1).sum() == 20


@pytest.mark.parametrize("name", ["case", "winabs"])
def test_21_a_file_that_is_not_found_is_answered_with_the_nearest(
    cases: Path, tmp_path: Path, name: str
) -> None:
    from cxr.labels.lookup import say_nearest

    root = tmp_path / "root"
    for number, path in enumerate(sorted((cases / "04-finding-column-dropped/im").iterdir())):
        target = root / (f"UP/A{number}.PNG" if name == "case" else f"im/{path.name}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    table = table_of(root, cases / f"21-csv-dialects/{name}.csv")
    assert (table.rows["path"] == "").all()
    near = say_nearest(root, table.rows["image"])
    assert near.startswith(
        f"for {table.rows['image'][0]} there is {'UP/A0.PNG' if name == 'case' else 'im/a0.png'}"
    )


def test_22_metadata_is_no_finding_and_an_unknown_name_is_asked_about(cases: Path) -> None:
    table = table_of(cases / "04-finding-column-dropped", cases / "22-non-findings-trained/sex01.csv")
    assert table.findings == ("Edema", "Effusion", "is_intubated")
    assert "is_intubated; data.findings=[Edema, Effusion] leaves them out" in table.notes[0]
    assert {use.column: use.use or use.why for use in table.columns}["fold"] == "known to be no finding"


def test_23_views_are_read_by_one_rule(cases: Path, images: Path) -> None:
    from cxr.config.schema import Config

    csv = cases / "23-views-spelled/labels.csv"
    data = data_of(images, csv, views=["PA", "AP"])
    table = read(data)
    assert table.rows["view"].value_counts().to_dict() == {"PA": 24, "AP": 24, "lateral": 16}
    kept, dropped = keep_rows(Config(data=data), table, assign(table, data), np.ones(64, bool))
    assert len(kept) == 48 and dropped["other view"] == 16


def test_24_findings_match_whatever_their_case(cases: Path) -> None:
    predictions = read_predictions(
        cases / "12-predictions-bare-column-dropped/base.csv", cases / "24-finding-case/lab_lower.csv"
    )
    assert aurocs(predictions) == [0.862, 0.828, 0.888, 0.859]


@pytest.mark.parametrize("name", ["lab_noext", "lab_dcm"])
def test_28_labels_are_joined_by_the_name_without_its_ending(cases: Path, name: str) -> None:
    folder = cases / "28-metrics-edges"
    assert aurocs(read_predictions(folder / "base.csv", folder / f"{name}.csv"))[3] == 0.859


def test_28_what_is_labelled_in_part_is_evaluated_when_asked(cases: Path) -> None:
    folder = cases / "28-metrics-edges"
    with pytest.raises(CxrError, match="50 of 200 images have no label"):
        read_predictions(folder / "base.csv", folder / "lab_part.csv")
    options = LabelOptions(skip_unlabelled=True)
    predictions = read_predictions(folder / "base.csv", folder / "lab_part.csv", options=options)
    assert len(predictions) == 150 and predictions.notes[-1].startswith("50 of 200 images have no label in")


def test_28_rounding_and_uncertain_labels(cases: Path) -> None:
    folder = cases / "28-metrics-edges"
    assert read_predictions(folder / "above1.csv").p.max() == 1
    assert np.isnan(read_predictions(folder / "minus1.csv").y).sum() == 10
