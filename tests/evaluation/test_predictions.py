from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions, read, write

Draw = Callable[..., Predictions]


def save(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(path: Path, labels: Path | None = None) -> str:
    with pytest.raises(CxrError) as error:
        read(path, labels)
    return error.value.render().replace(f"{path.parent}/", "")


def same(left: Predictions, right: Predictions) -> bool:
    pd.testing.assert_frame_equal(left.rows, right.rows)
    return (
        left.findings == right.findings
        and np.array_equal(left.y, right.y, True)
        and np.array_equal(left.p, right.p)
    )


def test_what_is_written_is_read_back(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(100, ("Mass", "Pleural_Thickening", "Enlarged Cardiomediastinum", "Something of ours"))
    words = {"image": 'a "quoted", name.png', "patient_id": "007", "view": ""}
    for column, word in words.items():
        predictions.rows.loc[3, column] = word
    predictions.rows.loc[4, "age"] = np.nan
    write(predictions, tmp_path / "new" / "p.csv")
    assert same(read(tmp_path / "new" / "p.csv"), predictions)


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_no_probability_loses_a_digit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    rows = pd.DataFrame({name: [str(row) for row in range(len(values))] for name in ("image", "patient_id")})
    p = np.array(values)[:, None]
    predictions = Predictions(
        rows.assign(split="", view="", sex="", age=np.nan), ("Mass",), np.zeros_like(p), p
    )
    path = tmp_path_factory.mktemp("p") / "p.csv"
    write(predictions, path)
    assert same(read(path), predictions)


def test_columns_are_identity_then_labels_then_probabilities(draw: Draw, tmp_path: Path) -> None:
    write(draw(2, ("Mass", "Edema"), seed=1), tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == (
        "image,patient_id,split,view,sex,age,y_Mass,y_Edema,p_Mass,p_Edema"
    )


def test_a_failed_write_leaves_the_old_file(
    draw: Draw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "p.csv", "old")

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(CxrError):
        write(draw(), path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("p.csv", "old\n")]


@pytest.mark.parametrize("image", ["image", "Image Index", "Path"])
@pytest.mark.parametrize("prefix", ["p_", "prob_", ""])
def test_predictions_made_elsewhere_are_read(tmp_path: Path, image: str, prefix: str) -> None:
    header = f"{image},{prefix}Mass,{prefix}Pleural Thickening,y_Mass,extra"
    predictions = read(save(tmp_path / "p.csv", header, "a.png,0.25,1,1,x", "b.png,1e-3,0,,y"))
    assert predictions.findings == ("Mass", "Pleural_Thickening")
    assert predictions.p.tolist() == [[0.25, 1], [0.001, 0]]
    np.testing.assert_equal(predictions.y, [[1, np.nan], [np.nan, np.nan]])
    assert predictions.rows["patient_id"].tolist() == ["", ""]


def test_beside_prefixed_columns_bare_ones_are_no_probabilities(tmp_path: Path) -> None:
    predictions = read(save(tmp_path / "p.csv", "image,Mass,p_Mass,y_Mass", "a.png,1,0.25,1"))
    assert (predictions.findings, predictions.p.tolist()) == (("Mass",), [[0.25]])


def test_rows_are_described_by_split_images_and_patients(draw: Draw) -> None:
    predictions = draw(7)
    assert predictions.describe() == "test rows (7 images, 3 patients)"
    predictions.rows["split"] = ["val", *["test"] * 6]
    predictions.rows.loc[0, "patient_id"] = ""
    assert predictions.describe() == "validation and test rows (7 images)"
    predictions.rows["split"] = ""
    assert predictions.select(np.array([2])).describe() == "all rows (1 image, 1 patient)"


def test_columns_that_lack_are_all_named(tmp_path: Path) -> None:
    assert refusal(save(tmp_path / "p.csv", "name,score", "a.png,0.5")) == (
        "error: p.csv:1: no image column\n"
        "error: p.csv:1: no probability column\n"
        "hint: call it image, filename, Image Index or Path; call them p_<finding>, as in p_Cardiomegaly"
    )


def test_two_columns_of_one_finding_are_refused(tmp_path: Path) -> None:
    text = refusal(save(tmp_path / "p.csv", "image,p_Mass,prob_Mass,y_Mass", "a.png,0.5,0.5,1"))
    assert text == "error: p.csv:1: p_Mass and prob_Mass both give Mass\nhint: keep one of them"


def test_every_wrong_cell_column_is_named_at_once(tmp_path: Path) -> None:
    rows = ["image,y_Mass,p_Mass,p_Edema,p_Hernia", "a,1,2.31,0.1,0.1", "b,0,-4.5,,0.1", "a,-1,0.5,0.2,high"]
    hints = (
        "a probability is a number from 0 to 1 in every cell; logits need a sigmoid, or eval.scores=raw; "
        "keep one row per image"
    )
    assert refusal(save(tmp_path / "p.csv", *rows)) == (
        "error: p.csv:2: p_Mass is 2.31, no probability (and 1 more in this column)\n"
        "error: p.csv:3: p_Edema is empty, no probability\n"
        "error: p.csv:4: p_Hernia is high, no probability\n"
        "error: p.csv:4: image a is given twice with other numbers, first on line 2\n"
        f"hint: {hints}"
    )


@pytest.mark.parametrize("cell", ["nan", "inf", "-inf", "1.00001", "-1e-5", "0,5", "50%", " "])
def test_what_is_no_probability_is_refused(tmp_path: Path, cell: str) -> None:
    path = save(tmp_path / "p.csv", "image,y_Mass,p_Mass", f'a.png,1,"{cell}"')
    shown = cell.strip() or "empty"
    assert refusal(path).startswith(f"error: p.csv:2: p_Mass is {shown}, no probability\n")


def test_a_row_without_image_is_refused(tmp_path: Path) -> None:
    text = refusal(save(tmp_path / "p.csv", "image,y_Mass,p_Mass", "a,1,0.5", ",1,0.5"))
    assert text == "error: p.csv:3: no image name\nhint: give every row its image"


def test_predictions_without_labels_ask_for_them(tmp_path: Path) -> None:
    text = refusal(save(tmp_path / "p.csv", "image,p_Mass,y_Edema", "a,0.5,1"))
    assert text == (
        "error: p.csv:1: y_Edema has no probability column\nhint: call it p_Edema, or delete the label column"
    )
    text = refusal(save(tmp_path / "p.csv", "image,p_Mass", "a,0.5"))
    assert text.startswith(
        "error: p.csv:1: no labels (no y_ column of its findings)\nhint: give a CSV of labels with"
    )


@pytest.mark.parametrize(
    "content", [b"", b"image,p_Mass,y_Mass\n", b"\x89PNG\r\n\x1a\n\0", b"image,p_Mass\na,0.5,1,2\n"]
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.csv").write_bytes(content)
    assert refusal(tmp_path / "p.csv").startswith("error: p.csv:")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "p.csv").startswith("error: p.csv: no such file\n")


def test_splits_are_understood_in_any_case_and_other_words_refused(draw: Draw, tmp_path: Path) -> None:
    predictions = draw(6, ("Mass",))
    predictions.rows["split"] = ["Train", "VALID", "Test ", "validation", "", "test"]
    write(predictions, tmp_path / "p.csv")
    assert read(tmp_path / "p.csv").rows["split"].tolist() == ["train", "val", "test", "val", "", "test"]
    predictions.rows.loc[2:3, "split"] = "fold 1"
    write(predictions, tmp_path / "p.csv")
    with pytest.raises(CxrError, match=r"p.csv:4: split is 'fold 1' \(and 1 more such rows\)"):
        read(tmp_path / "p.csv")
