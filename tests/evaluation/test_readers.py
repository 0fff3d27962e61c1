import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from sklearn.metrics import f1_score

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.reader_rules import majority
from cxr.evaluation.reader_scores import AVERAGE
from cxr.evaluation.readers import ReaderComparison, compare_reader_files
from cxr.evaluation.statistics.metrics import Float
from cxr.report.readers import summary, write
from cxr.report.terminal import render

HOW = Eval(draws=200)


def reading_room(
    folder: Path, num_readers: int = 4, num: int = 120, seed: int = 0
) -> tuple[Path, list[Path], Float]:
    """A predictions file, a file a reader and their calls [R, N] of Pneumonia; readers err in one image of seven."""
    draws = np.random.default_rng(seed)
    truth = draws.random(num) < 0.4
    calls = np.stack([truth ^ (draws.random(num) < 1 / 7) for _ in range(num_readers)]).astype(np.float64)
    images = [f"{row:03d}.png" for row in range(num)]
    model = np.clip(0.5 * truth + 0.6 * draws.random(num), 0, 1)
    frame = pd.DataFrame(
        {"image": images, "patient_id": [row // 2 for row in range(num)], "p_Pneumonia": model}
    )
    frame.to_csv(folder / "predictions.csv", index=False)
    files = []
    for number, own in enumerate(calls):
        files.append(folder / f"reader_{number}.csv")
        pd.DataFrame({"image": images, "Pneumonia": own.astype(int)}).to_csv(files[-1], index=False)
    return folder / "predictions.csv", files, calls


def test_each_reader_is_evaluated_by_the_majority_of_the_others(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path)
    table = compare_reader_files(path, files, None, HOW).table.set_index("reader")
    model = pd.read_csv(path)["p_Pneumonia"] >= 0.5
    for number in range(4):
        reference = majority(np.delete(calls, number, axis=0))
        row = table.loc[f"reader_{number}"]
        assert row["reader_f1"] == pytest.approx(f1_score(reference, calls[number]))
        assert row["model_f1"] == pytest.approx(f1_score(reference, model))
        assert row["difference"] == pytest.approx(row["model_f1"] - row["reader_f1"])
        assert row["difference_low"] < row["difference"] < row["difference_high"]
        assert (row["num"], row["num_positive"]) == (120, reference.sum())
    every = table.loc[AVERAGE]
    assert every["reader_f1"] == pytest.approx(table["reader_f1"][:4].mean())
    assert every["difference_low"] < every["difference"] < every["difference_high"]


def test_a_majority_is_more_than_half() -> None:
    calls = np.array([[1.0, 1, 0, np.nan, np.nan], [1, 0, 0, 1, np.nan], [0, np.nan, 0, np.nan, np.nan]])
    np.testing.assert_array_equal(majority(calls[:, :, None])[:, 0], [1, np.nan, 0, 1, np.nan])


def test_ties_are_left_out_and_counted(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path, num_readers=3)
    result = compare_reader_files(path, files, None, HOW)
    ties = sum(int((np.delete(calls, number, axis=0).sum(axis=0) == 1).sum()) for number in range(3))
    assert result.notes == (f"{ties:,} cells are left out where as many of the other readers say yes as no",)
    assert result.table["num"][:3].sum() == 3 * 120 - ties


def test_a_single_reader_is_the_reference(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path, num_readers=1)
    result = compare_reader_files(path, files, None, HOW)
    model = pd.read_csv(path)["p_Pneumonia"] >= 0.5
    assert result.table["model_f1"].tolist() == [pytest.approx(f1_score(calls[0], model))]
    assert result.table[["reader_f1", "difference"]].isna().all(axis=None)


def test_images_that_no_reader_read_do_not_count(tmp_path: Path) -> None:
    path, files, _ = reading_room(tmp_path)
    for file in files:
        pd.read_csv(file).iloc[:50].to_csv(file, index=False)
    result = compare_reader_files(path, files, None, HOW)
    assert dict(result.about)["evaluated on"] == "all rows (50 images, 25 patients)"


def test_thresholds_come_from_a_report(tmp_path: Path) -> None:
    path, files, calls = reading_room(tmp_path, num_readers=1)
    (tmp_path / "metrics.csv").write_text("finding,threshold\nPneumonia,0.7\nmean,\n")
    result = compare_reader_files(path, files, tmp_path / "metrics.csv", HOW)
    model = pd.read_csv(path)["p_Pneumonia"] >= 0.7
    assert result.table["model_f1"][0] == pytest.approx(f1_score(calls[0], model))
    (tmp_path / "metrics.csv").write_text("finding,threshold\nMass,0.7\n")
    with pytest.raises(CxrError, match=r"is no metrics.csv with a threshold for each of Pneumonia"):
        compare_reader_files(path, files, tmp_path / "metrics.csv", HOW)


def test_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    path, files, _ = reading_room(tmp_path)
    files[0].write_text("image,Mass\n000.png,1\n")
    with pytest.raises(CxrError, match=r"reader_0\.csv: labels none of Pneumonia"):
        compare_reader_files(path, files, None, HOW)


def test_the_page_and_the_terminal_show_the_same(tmp_path: Path) -> None:
    path, files, _ = reading_room(tmp_path)
    result: ReaderComparison = compare_reader_files(path, files, None, HOW)
    write(result, tmp_path / "out")
    assert len(pd.read_csv(tmp_path / "out" / "readers.csv")) == 5
    console = Console(width=120, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(*summary(result)))
    page = (tmp_path / "out" / "readers.md").read_text()
    for text in (AVERAGE, "Research tool, not a medical device.", "majority of the other readers"):
        assert text in page
        assert text in capture.get()
