from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxr.config.schema import Eval
from cxr.errors import CxrError
from cxr.evaluation.prediction_files import score_files
from cxr.evaluation.predictions import read
from cxr.evaluation.same_names import match_names

HOW = Eval(interval="none")


def save(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def places(ours: list[str], theirs: list[str]) -> list[int]:
    return [int(place) for place in match_names(pd.Series(ours, dtype=str), pd.Series(theirs, dtype=str))]


@pytest.mark.parametrize(
    ("ours", "theirs", "same"),
    [("a0", "a0.png", True), ("a0.dcm", "x/a0.PNG", True), ("/data/x/a0.png", "x/a0", True), ("x\\a0", "x/a0", True),
     ("x/a0.png", "y/a0.png", False), ("a0.1", "a0.2", False), ("xa0", "a0", False), ("A0", "a0", False),
     ("/data/CheXpert-v1.0/patient1/study1/v.jpg", "CheXpert-v1.0-small/train/patient1/study1/v.jpg", True),
     ("train/patient1/study1/v.jpg", "valid/patient1/study1/v.jpg", False)],
)  # fmt: skip
def test_names_that_differ_by_an_ending_or_by_folders_that_one_leaves_out_are_one(
    ours: str, theirs: str, same: bool
) -> None:
    assert places([ours], [theirs]) == places([theirs], [ours]) == [0 if same else -1]


def test_a_name_that_may_be_two_images_is_none_and_the_others_are_found() -> None:
    assert places(["a", "b", "a"], ["x/a", "y/a", "x/b"]) == [-1, 2, -1]
    assert places(["x/a", "y/a", "x/b", "b"], ["a", "x/b.png"]) == [-1, -1, 1, -1]
    assert places(["a.png", "a.jpg", "b.png"], ["a.jpg", "b.jpg"]) == [-1, 0, 1]


NAMES = [
    f"{folder}{name}{end}" for folder, name, end in product(("x/", "y/", "z/x/", ""), "ab", ("", ".png"))
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(NAMES), unique=True), st.data())
def test_the_order_of_names_changes_no_match(names: list[str], data: st.DataObject) -> None:
    ours, theirs = names[::2], names[1::2]
    found = dict(zip(ours, places(ours, theirs), strict=True))
    pairs = {(one, theirs[place]) for one, place in found.items() if place >= 0}
    mixed, others = data.draw(st.permutations(ours)), data.draw(st.permutations(theirs))
    again = {
        (one, others[place]) for one, place in zip(mixed, places(mixed, others), strict=True) if place >= 0
    }
    assert pairs == again and len({b for _, b in pairs}) == len(pairs)


def test_models_are_averaged_and_joined_to_labels_whatever_endings_they_write(tmp_path: Path) -> None:
    labels = save(tmp_path / "l.csv", "image,Mass", "a0.png,1", "a1.png,0")
    one = save(tmp_path / "1.csv", "image,p_Mass", "a0,0.8", "a1,0.2")
    two = save(tmp_path / "2.csv", "image,p_Mass", "x/a1.png,0.4", "x/a0.png,0.6")
    report, found = score_files([one, two], HOW, labels)
    assert found.rows.p[:, 0].round(9).tolist() == [0.7, 0.3] and found.rows.y[:, 0].tolist() == [1, 0]
    assert any("x/a1.png is a1" in note for note in report.notes)


def test_labels_of_an_image_in_another_folder_are_not_taken(tmp_path: Path) -> None:
    labels = save(tmp_path / "l.csv", "image,Mass", "siteB/a0.png,1", "siteB/a1.png,0")
    path = save(tmp_path / "p.csv", "image,p_Mass", "siteA/a0.png,0.8", "siteA/a1.png,0.2")
    with pytest.raises(CxrError, match="2 of 2 images have no label"):
        read(path, labels)


def test_thresholds_are_not_chosen_on_evaluated_images_under_another_ending(tmp_path: Path) -> None:
    evaluated = save(tmp_path / "p.csv", "image,p_Mass,y_Mass", "a0,0.8,1", "a1,0.2,0")
    chosen = save(tmp_path / "v.csv", "image,p_Mass,y_Mass", "a1.png,0.8,1", "b1.png,0.2,0")
    with pytest.raises(CxrError, match=r"1 of its images are evaluated too, the first a1\.png"):
        score_files([evaluated], HOW, validation=chosen)
