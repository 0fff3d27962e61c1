import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxr.config.schema import Data
from cxr.errors import CxrError
from cxr.labels.reading import make_rows
from cxr.labels.sources import read
from cxr.labels.split_lists import hash_names
from cxr.labels.splits import SPLITS, Split, assign, check_leak
from cxr.labels.table import LabelTable
from tests.helpers.fakes import NihImage, write_chexpert, write_lines, write_nih


def make_table(patients: Sequence[str], split: Sequence[str] = (), images: Sequence[str] = ()) -> LabelTable:
    names = list(images) or [f"{n:08}.png" for n in range(len(patients))]
    rows = make_rows(
        {"image": names, "patient_id": list(patients), "split": list(split) or [""] * len(patients)}
    )
    return LabelTable("table", Path("root"), rows, ("Mass",), np.zeros((len(patients), 1), dtype=np.float32))


def config(split: str, root: Path = Path("root"), source: str = "nih", **keys: object) -> Data:
    return Data.model_validate({"source": source, "root": root, "split": split, **keys})


def assign_lists(folder: Path, table: LabelTable, train: list[str], val: list[str], test: list[str]) -> Split:
    files = {"train": train, "val": val, "test": test}
    paths = {name: write_lines(folder / f"{name}.txt", lines) for name, lines in files.items()}
    return assign(table, config("lists", lists=paths))


def error_of(table: LabelTable, data: Data) -> str:
    with pytest.raises(CxrError) as error:
        assign(table, data)
    return error.value.render()


patient_lists = st.lists(st.sampled_from("abcdefghijklmnop"), min_size=30, max_size=60).filter(
    lambda p: len(set(p)) > 3
)


@given(patient_lists, st.integers(0, 5))
def test_a_random_split_keeps_patients_whole_in_any_order_of_rows(patients: list[str], seed: int) -> None:
    data = config("random", split_seed=seed)
    split = assign(make_table(patients), data)
    order = np.random.default_rng(seed).permutation(len(patients))
    shuffled = assign(make_table([patients[row] for row in order]), data)
    assert (shuffled.assigned == split.assigned[order]).all()
    assert set(split.assigned) == set(SPLITS)
    assert len(set(zip(patients, split.assigned, strict=True))) == len(set(patients))


def test_a_random_split_takes_the_shares_of_patients_and_another_seed_takes_others() -> None:
    table = make_table([str(n) for n in range(1000)])
    split = assign(table, config("random"))
    assert [len(split.rows(name)) for name in SPLITS] == [700, 100, 200]
    assert split.name == "random by patient (seed 0)" and split.kind == "random"
    assert (assign(table, config("random", split_seed=1)).assigned != split.assigned).any()


def test_too_few_patients_are_refused() -> None:
    assert error_of(make_table(["a", "b"]), config("random")) == (
        "error: data.split: of 2 patients none is left for training after 2 for validation and test\n"
        "hint: lower data.val_fraction and data.test_fraction, or add patients"
    )


def test_a_patient_without_a_name_is_refused() -> None:
    assert error_of(make_table(["a", "", ""]), config("random")) == (
        "error: root: 2 images without a patient, the first 00000001.png\n"
        "hint: a patient's images must stay in one split; fill in the patient"
    )


def test_a_leak_names_the_patients_and_counts_the_rest() -> None:
    patients = [str(n) for n in range(7)] * 2
    check_leak(patients, ["train"] * 14)
    check_leak(patients, ["train"] * 7 + [""] * 7)
    with pytest.raises(CxrError) as error:
        check_leak(patients, ["train"] * 7 + ["test"] * 7)
    assert error.value.problems[0] == "data.split: patient 0 is in train and test"
    assert error.value.problems[5:] == ("data.split: 2 more patients are in two splits",)


def test_the_official_lists_are_kept_and_validation_is_cut_by_patient(tmp_path: Path) -> None:
    images = [
        NihImage(f"{patient:08}_{n:03}.png", patient=str(patient),
                 split="test" if patient > 15 else "train_val")
        for patient in range(20) for n in range(3)
    ]  # fmt: skip
    data = config("official", write_nih(tmp_path, images), val_fraction=0.2)
    split = assign(read(data), data)
    assert [len(split.rows(name)) for name in SPLITS] == [39, 9, 12]
    assert set(split.rows("test")) == set(range(48, 60))
    assert split.name == "official lists of this dataset (not a published split)"
    assert split.hashes["test"] == hash_names(image.name for image in images[48:])


def test_a_leak_in_the_datasets_own_lists_is_refused(tmp_path: Path) -> None:
    data = config("official", write_nih(tmp_path))
    write_lines(tmp_path / "train_val_list.txt", ["00000001_000.png", "00000002_000.png", "00000004_000.png"])
    write_lines(tmp_path / "test_list.txt", ["00000001_001.png"])
    text = error_of(read(data), data)
    assert text.startswith("error: data.split: patient 1 is in ") and "test\nhint: all images" in text


def test_chexpert_keeps_its_own_validation_and_test(tmp_path: Path) -> None:
    write_chexpert(tmp_path, files=["train", "valid", "test"])
    data = config("official", tmp_path, "chexpert")
    assert [len(assign(read(data), data).rows(name)) for name in SPLITS] == [6, 3, 2]


def test_chexpert_without_validation_cuts_it_from_training_and_may_have_no_test(tmp_path: Path) -> None:
    data = config("official", write_chexpert(tmp_path, files=["train"]), "chexpert")
    split = assign(read(data), data)
    assert len(split.rows("val")) and len(split.rows("train")) and not len(split.rows("test"))


def test_a_dataset_without_splits_is_refused() -> None:
    assert error_of(make_table(["a", "b"]), config("official")) == (
        "error: root: the dataset names no splits\n"
        "hint: use data.split=random, lists or column, or complete data.root"
    )


def test_lists_are_read_in_the_forms_of_public_reproductions(tmp_path: Path) -> None:
    table = make_table("aabcd", images=["1.png", "2.png", "3.png", "4.png", "5.png"])
    train = ["Image Index,Mass", "1.png,0", "", "images/2.png 0 1 0"]
    split = assign_lists(
        tmp_path, table, train, ["images_002\\images\\3.png"], ["./4.png", "9.png 0", "4.png"]
    )
    assert split.assigned.tolist() == ["train", "train", "val", "test", ""]
    assert split.absent == ("9.png",)
    assert split.name == "lists (train.txt, val.txt, test.txt)"
    assert split.hashes["test"] == hash_names(["4.png", "9.png"])


def test_list_names_match_paths_by_their_ends_but_never_by_an_ambiguous_name(tmp_path: Path) -> None:
    table = make_table("abcd", images=["train/p1/v.jpg", "train/p2/v.jpg", "a b/x.png", "c/y.png"])
    split = assign_lists(
        tmp_path, table, ["CheXpert-v1.0/train/p1/v.jpg"], ["v.jpg", "y.png"], ["a b/x.png,1"]
    )
    assert split.assigned.tolist() == ["train", "", "test", "val"]
    assert split.absent == ("v.jpg",)


def test_a_name_in_two_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CxrError) as error:
        assign_lists(tmp_path, make_table("ab"), ["00000000.png"], ["x/00000000.png"], ["00000001.png"])
    assert error.value.render() == (
        "error: data.lists: 00000000.png is in train.txt and val.txt\nhint: a name belongs in one list"
    )


def test_lists_that_fit_nothing_or_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CxrError, match=r"none of their 3 names is an image of root") as error:
        assign_lists(tmp_path, make_table("a"), ["x.png"], ["y.png"], ["z.png"])
    assert error.value.hint == "a name there is like x.png, an image like 00000000.png"
    with pytest.raises(CxrError, match=r"test\.txt: no names"):
        assign_lists(tmp_path, make_table("a"), ["x.png"], ["y.png"], ["name"])
    lists = dict.fromkeys(SPLITS, "no.txt")
    assert error_of(make_table("a"), config("lists", lists=lists)) == (
        "error: data.lists: no file no.txt\nhint: looked for no.txt and root/no.txt"
    )
    (tmp_path / "bad.txt").write_bytes(b"\x81\x8d")
    text = error_of(make_table("a"), config("lists", lists=dict.fromkeys(SPLITS, tmp_path / "bad.txt")))
    assert "bad.txt:1: not a readable list of names (byte 0x81 is not UTF-8)" in text


def test_a_column_says_the_split_in_the_usual_words() -> None:
    split = assign(make_table("abcde", ["train", "Valid", "validation", "test", ""]), config("column"))
    assert split.assigned.tolist() == ["train", "val", "val", "test", ""]
    assert split.name == "column split"


def test_a_column_without_validation_has_it_cut_from_training() -> None:
    split = assign(make_table("abcde", ["train"] * 4 + ["test"]), config("column"))
    assert [len(split.rows(name)) for name in SPLITS] == [3, 1, 1]


def test_an_unknown_word_in_the_column_is_named() -> None:
    assert error_of(make_table("abc", ["train", "dev", "dev"]), config("column")) == (
        "error: root: split is 'dev' for image 00000001.png (2 such rows)\n"
        "hint: data.split_column holds train, val or test, or nothing"
    )


def test_a_split_column_works_for_any_source(tmp_path: Path) -> None:
    lines = [
        "Image Index,Finding Labels,Patient ID,fold",
        "a.png,Mass,1,train",
        "b.png,Mass,2,val",
        "c.png,Mass,3,test",
    ]
    write_lines(tmp_path / "x.csv", lines)
    data = config("column", tmp_path, csv="x.csv", split_column="fold")
    assert assign(read(data), data).assigned.tolist() == ["train", "val", "test"]


@pytest.mark.real
def test_the_full_official_lists_are_recognised_and_no_patient_is_in_both(
    sample_data: Path, xrv_data: Path, tmp_path: Path
) -> None:
    for name in ("train_val_list.txt", "test_list.txt"):
        (tmp_path / name).write_bytes((sample_data / "nih-1024" / name).read_bytes())
    data = config("official", tmp_path, csv=xrv_data / "Data_Entry_2017_v2020.csv.gz")
    split = assign(read(data), data)
    assert split.name == "NIH official"
    assert len(split.rows("test")) == 25_596
    assert len(split.rows("train")) + len(split.rows("val")) == 86_524


@pytest.mark.real
def test_a_partial_dataset_with_full_lists_is_still_the_official_split(sample_data: Path) -> None:
    data = config("official", sample_data / "nih-1024")
    split = assign(read(data), data)
    assert split.name == "NIH official" and len(split.absent) == 111_990
    data = config("official", sample_data / "nih-256")
    assert assign(read(data), data).name == "official lists of this dataset (not a published split)"


@pytest.mark.real
def test_the_community_split_is_recognised_at_full_scale(
    sample_data: Path, full_nih: LabelTable, tmp_path: Path
) -> None:
    table = full_nih
    with (sample_data / "splits/nih_community_patients.csv").open() as file:
        split_of = {row["patient_id"]: row["fold"] for row in csv.DictReader(file)}
    assigned = table.rows["patient_id"].map(split_of)
    images = {split: table.rows["image"][assigned == split] for split in SPLITS}
    lines = {split: [f"{name} 0 1 0" for name in images[split]] for split in SPLITS}
    split = assign_lists(tmp_path, table, lines["train"], lines["val"], lines["test"])
    assert split.name == "NIH community"
    assert pd.Series(split.assigned).value_counts().to_dict() == {
        "train": 78_468,
        "val": 11_219,
        "test": 22_433,
    }


def test_the_full_chexpert_training_table_is_recognised(
    full_chexpert: tuple[LabelTable, pd.DataFrame], tmp_path: Path
) -> None:
    table, _ = full_chexpert
    listed = replace(table, rows=table.rows.assign(split="train"))
    assert assign(listed, config("official", tmp_path, "chexpert")).name == "CheXpert official training set"
