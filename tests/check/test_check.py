import base64
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from cxr.check import outliers
from cxr.check.files import read_files
from cxr.findings import NIH_14
from cxr.images.limits import MAX_BYTES
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from tests.check.conftest import CHANGES
from tests.helpers.commands import call
from tests.helpers.fakes import write_chexpert, write_lines

TABLE = ["data.source=table", "data.csv=labels.csv", "data.split=random"]
SKIP = ["data.missing=skip", "data.unreadable=skip"]
Faulty = tuple[Path, dict[str, str]]


def check(recipe: Path, out: Path, *more: str) -> tuple[int, dict]:  # type: ignore[type-arg]  # as JSON is
    """(exit status, check.json) of a check without a store beside it."""
    status = call("check", recipe, f"store.path={out.parent / 'no_store'}", "--out", out, *more)
    return status, json.loads((out / "check.json").read_text())


def page_of(folder: Path) -> str:
    return (folder / "out" / "check.html").read_text()


def listed(facts: dict) -> dict[str, list[str]]:  # type: ignore[type-arg]
    return {listing["kind"]: listing["images"] for listing in facts["listings"]}


def hashes(root: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in root.rglob("*") if path.is_file()
    }


def entries(root: Path) -> pd.DataFrame:
    return pd.read_csv(root / "Data_Entry_2017_v2020.csv", dtype={"Patient ID": str})


@pytest.mark.figures
def test_a_clean_dataset_is_ready_and_has_no_outliers(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, facts = check(recipe, tmp_path / "out")
    printed = capsys.readouterr().out
    assert (status, facts["listings"], facts["twins"], facts["problems"]) == (0, [], [], [])
    images, patients = facts["plan"]["images"], facts["plan"]["patients"]
    assert f"would train on {images['train']} images of {patients['train']} patients, validate on" in printed
    assert printed.splitlines()[-2].startswith("ready")
    assert facts["files"]["read"] == 40


def test_findings_with_few_positive_validation_images_are_named_as_training_counts_them(
    recipe: Path, run: Path, tmp_path: Path
) -> None:
    _, facts = check(recipe, tmp_path / "out", "--quick")
    thresholds = checkpoints.load(run).thresholds
    assert len(thresholds.few) > 2
    line = f"validation has fewer than 10 positive images of {', '.join(thresholds.few)}: thresholds will be unreliable"
    assert line in facts["warnings"]
    _, facts = check(recipe, tmp_path / "out", "--quick", "eval.threshold=0.5")
    assert not [warning for warning in facts["warnings"] if "unreliable" in warning]


@pytest.mark.parametrize(
    "kind", ["missing", "truncated", "unreadable", *sorted(CHANGES.keys() - {"grey_as_colour"})]
)
def test_each_planted_fault_is_found_by_its_name(
    kind: str, faulty: Faulty, recipe: Path, tmp_path: Path
) -> None:
    root, planted = faulty
    _, facts = check(recipe, tmp_path / "out", f"data.root={root}")
    name = planted[kind].removeprefix("images/") if kind == "missing" else planted[kind]
    assert listed(facts)[kind] == [name]


def test_faults_stop_a_training_unless_the_config_skips_them(
    faulty: Faulty, recipe: Path, tmp_path: Path
) -> None:
    root, _ = faulty
    strict, facts = check(recipe, tmp_path / "out", f"data.root={root}")
    assert (strict, facts["verdict"], len(facts["problems"])) == (1, "not ready: 2 problems", 2)
    assert "image file is truncated (300 bytes)" in facts["problems"][1]
    lenient, facts = check(recipe, tmp_path / "out", f"data.root={root}", *SKIP)
    assert (lenient, facts["problems"], facts["plan"]["dropped"]) == (0, [], {"no file": 1, "unreadable": 2})


def test_counts_are_those_of_pandas(recipe: Path, nih_root: Path, tmp_path: Path) -> None:
    _, facts = check(recipe, tmp_path / "out")
    table = entries(nih_root)
    test = table["Image Index"].isin((nih_root / "test_list.txt").read_text().split())
    positive = table["Finding Labels"].str.get_dummies("|").reindex(columns=list(NIH_14), fill_value=0)
    cells = pd.DataFrame(facts["cells"]).pivot(index="finding", columns="split", values="positive")
    assert cells["test"].to_dict() == positive[test].sum().to_dict()
    assert cells.sum(axis=1).to_dict() == positive.sum().to_dict()
    assert facts["together"]["counts"] == (positive.T @ positive).to_numpy().tolist()
    each = table["Patient ID"].value_counts()
    assert dict(facts["patients"]["images_each"])["1"] == (each == 1).sum()
    assert (facts["patients"]["num"], facts["patients"]["most_images"]) == (len(each), each.max())
    images = facts["plan"]["images"]
    assert (images["test"], images["train"] + images["val"]) == (test.sum(), (~test).sum())
    assert facts["plan"]["patients"]["test"] == table["Patient ID"][test].nunique()


def test_groups_are_those_of_pandas(recipe: Path, nih_root: Path, tmp_path: Path) -> None:
    _, facts = check(recipe, tmp_path / "out")
    table, groups = entries(nih_root), pd.DataFrame(facts["groups"])
    every = {(group["column"], group["group"]): group["images"] for group in facts["groups"]}
    for view, num in table["View Position"].value_counts().items():
        assert every["view", view]["all"] == num
        assert sum(every["view", view][fold] for fold in ("train", "val", "test")) == num
    bands = pd.cut(table["Patient Age"], [0, 20, 40, 60, 80, 200], right=False).value_counts()
    assert sorted(group["all"] for group in groups[groups["column"] == "age"]["images"]) == sorted(
        bands[bands > 0]
    )


def test_duplicate_images_are_grouped_and_leaks_come_first(
    faulty: Faulty, recipe: Path, tmp_path: Path
) -> None:
    root, planted = faulty
    _, facts = check(recipe, tmp_path / "out", f"data.root={root}", *SKIP)
    assert [sorted(group["images"]) for group in facts["twins"]] == [
        sorted(planted[kind] for kind in ("twin_file", "twin_pixels", "good"))
    ]
    assert facts["twins"][0]["same"] == "pixels"
    patients = entries(root).set_index("Image Index")["Patient ID"]
    assert facts["twins"][0]["num_patients"] == len(
        {patients[Path(name).name] for name in facts["twins"][0]["images"]}
    )


def test_a_duplicate_image_in_train_and_test_is_a_leak(nih_root: Path, recipe: Path, tmp_path: Path) -> None:
    root = copy(nih_root, tmp_path)
    first, second = ((root / file).read_text().split()[0] for file in ("train_val_list.txt", "test_list.txt"))
    (root / "images" / second).write_bytes((root / "images" / first).read_bytes())
    status, facts = check(recipe, tmp_path / "out", f"data.root={root}", "data.split_seed=3")
    assert (status, facts["twins"][0]["same"], facts["twins"][0]["splits"][-1]) == (0, "file", "test")
    leak = f"leak: duplicate images in more than one split: 1: images/{first} = images/{second}"
    assert leak in facts["warnings"]


def test_a_patient_in_two_splits_is_a_problem_and_is_named_on_the_terminal_alone(
    nih_root: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy(nih_root, tmp_path)
    table = entries(root)
    lists = [(root / file).read_text().split() for file in ("train_val_list.txt", "test_list.txt")]
    moved = table["Image Index"].isin([lists[0][0], lists[1][0]])
    table.loc[moved, "Patient ID"] = "secret77"
    table.to_csv(root / "Data_Entry_2017_v2020.csv", index=False)
    status, facts = check(recipe, tmp_path / "out", f"data.root={root}")
    assert (status, facts["patients"]["in_two_splits"]) == (1, 1)
    assert facts["problems"] == ["data.split: leak: patients in more than one split: 1"]
    assert facts["files"]["read"] == 40
    printed = capsys.readouterr()
    assert "data.split: patient secret77 is in train and test" in printed.err
    assert "secret77" not in printed.out + (tmp_path / "out" / "check.html").read_text() + json.dumps(facts)


def copy(nih_root: Path, folder: Path) -> Path:
    return Path(shutil.copytree(nih_root, folder / "copy"))


@pytest.mark.figures
def test_the_page_asks_no_network_and_escapes_names(faulty: Faulty, recipe: Path, tmp_path: Path) -> None:
    root, _ = faulty
    check(recipe, tmp_path / "out", f"data.root={root}")
    page = (tmp_path / "out" / "check.html").read_text()
    assert not re.search(r"https?:|//[a-z]", re.sub(r"base64,[^\"]*", "", page))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1).png" in page
    assert "not a medical device" in page
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) > 24
    assert all(re.search(r'alt="[^"]+"', image) for image in images)


@pytest.mark.parametrize(
    "image", [{}, {"fit": "squash"}, {"intensity": "range"}, {"borders": "crop", "fit": "crop"}]
)
def test_thumbnails_are_what_packing_makes_of_the_images(
    image: dict[str, Any], recipe: Path, tmp_path: Path
) -> None:
    root, preprocess = tmp_path / "table", Preprocess(64, **image)
    dark = (
        np.linspace(2000, 2600, 90 * 70).reshape(90, 70).astype(np.uint16)
    )  # 12 bits, a seventh of their range
    write_lines(root / "labels.csv", ["image,patient_id,Mass", *(f"{n}.png,{n},{n % 2}" for n in range(20))])
    for number in range(20):
        framed = cv2.copyMakeBorder(dark, 10 + number, 0, 0, 20, cv2.BORDER_CONSTANT, value=0)
        assert cv2.imwrite(str(root / f"{number}.png"), framed)
    keys = [f"image.{key}={value}" for key, value in image.items()]
    check(recipe, tmp_path / "out", *TABLE, f"data.root={root}", "image.store_size=64", *keys)
    data, name = re.findall(r'base64,([^"]*)"[^>]*alt="Random image: ([^;"]*)', page_of(tmp_path))[0]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert shown is not None
    packed = prepare(read_file(root / name, preprocess.intensity), preprocess)
    assert (
        np.abs(shown.astype(float) - cv2.resize(packed, shown.shape, interpolation=cv2.INTER_NEAREST)).mean()
        < 2
    )


def test_quick_decodes_nothing_and_still_counts(
    faulty: Faulty, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("cxr.data.store_files.read_file", refuse)
    monkeypatch.setattr("cv2.imdecode", refuse)
    root, planted = faulty
    status, facts = check(recipe, tmp_path / "out", "--quick", f"data.root={root}", "data.missing=skip")
    assert (status, facts["files"]["read"], facts["files"]["missing"]) == (0, None, 1)
    assert list(listed(facts)) == ["missing"]
    assert facts["verdict"].endswith("(files were not decoded)")
    assert planted["missing"].removeprefix("images/") in listed(facts)["missing"]


def test_nothing_is_written_but_the_report(
    faulty: Faulty, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = faulty
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    before = hashes(tmp_path)
    assert call("check", recipe, f"data.root={root}", "store.path=store") == 1
    after = hashes(tmp_path)
    new = {str(Path(path).relative_to(folder)) for path in after.keys() - before.keys()}
    assert new == {"checks/tiny/check.html", "checks/tiny/check.json"}
    assert before.items() <= after.items()


def test_image_files_that_no_row_names_are_counted(faulty: Faulty, recipe: Path, tmp_path: Path) -> None:
    root, _ = faulty
    for name in (".hidden.png", "store/x.png", "more/deep/x.JPG"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    call(
        "check",
        recipe,
        f"data.root={root}",
        f"store.path={root / 'store'}",
        "--quick",
        "--out",
        tmp_path / "out",
    )
    files = json.loads((tmp_path / "out" / "check.json").read_text())["files"]
    assert files["first_unnamed"] == ["images/<script>alert(1).png", "more/deep/x.JPG"]
    assert files["unnamed"] == 2


def test_lateral_images_among_frontal_ones_are_named_by_their_column(tmp_path: Path) -> None:
    root = write_chexpert(tmp_path / "chexpert")
    recipe = write_lines(
        tmp_path / "c.yaml", [f"data: {{source: chexpert, root: {root}}}", "image: {size: 32}"]
    )
    _, facts = check(recipe, tmp_path / "out", "data.findings=[Edema, Fracture]", "image.store_size=32")
    assert listed(facts)["lateral"] == [
        f"{fold}/study1/view2_lateral.jpg" for fold in ("train/patient00001", "valid/patient64541")
    ]
    _, facts = check(recipe, tmp_path / "out", "data.findings=[Edema, Fracture]", "data.views=[AP]")
    assert "lateral" not in listed(facts)
    cells = {(cell["finding"], cell["split"]): cell for cell in facts["cells"]}
    assert cells["Edema", "val"]["negative"] == 2
    assert cells["Fracture", "val"]["blank"] == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (["data.root=absent"], "absent: no such folder"),
        (
            ["data.split=random", "data.val_fraction=0.9", "data.test_fraction=0.9"],
            "none is left for training",
        ),
        (["data.findings=[Fracture]"], "has no labels for 'Fracture'"),
        (["model.weights=absent.pt"], "model.weights: absent.pt: no such file"),
        (["train.batch_size=1"], "too small for a batch of one"),
    ],
)
def test_what_training_refuses_is_not_ready(
    change: list[str], problem: str, recipe: Path, tmp_path: Path
) -> None:
    status, facts = check(recipe, tmp_path / "out", *change)
    assert status == 1
    assert problem in facts["problems"][0]
    assert len(facts["problems"]) == 1
    assert (tmp_path / "out" / "check.html").exists()


def test_a_bad_config_ends_with_status_2(recipe: Path, tmp_path: Path) -> None:
    assert call("check", recipe, "train.lr=fast", "--out", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_phantom_that_is_not_there_is_not_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_lines(tmp_path / "p.yaml", [f"data: {{source: phantom, root: {tmp_path / 'p'}}}"])
    assert call("check", recipe, "--out", tmp_path / "out") == 2
    assert f"hint: cxr phantom {tmp_path / 'p'} --images 2000" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["p.yaml"]


def test_a_store_of_other_images_is_a_problem(run: Path, recipe: Path, tmp_path: Path) -> None:
    store = recipe.parent / "store"
    arguments = ("check", recipe, f"store.path={store}", "--quick", "--out", tmp_path / "out")
    assert run.exists()
    assert call(*arguments) == 0
    assert call(*arguments, "image.store_size=48") == 1


def test_any_failure_of_a_decoder_is_a_reason(nih_root: Path) -> None:
    def fail(path: str) -> np.ndarray:
        if path == "full":
            raise MemoryError("too large")
        if path == "bad":
            raise ValueError("too large")
        return read_file(nih_root / path)

    good = (nih_root / "images").iterdir().__next__().relative_to(nih_root).as_posix()
    bad, full, fine = read_files(nih_root, ["bad", "full", good], fail, workers=1)
    assert (bad.reason, bad.hint) == ("the decoder failed: ValueError: too large", "")
    assert (
        full.reason == "cannot be read: Cannot allocate memory" and full.hint
    )  # which says nothing of the file
    assert (fine.reason, fine.num_bytes) == ("", (nih_root / good).stat().st_size)


def test_a_pipe_and_a_file_without_end_do_not_hang(nih_root: Path, recipe: Path, tmp_path: Path) -> None:
    root = copy(nih_root, tmp_path)
    pipe, huge = sorted((root / "images").iterdir())[:2]
    for path in (pipe, huge):
        path.unlink()
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    status, facts = check(recipe, tmp_path / "out", f"data.root={root}")
    assert (status, listed(facts)["missing"]) == (1, [pipe.name])
    assert listed(facts)["unreadable"] == [f"images/{huge.name}"]


def test_names_that_are_no_text_are_shown_safely(
    nih_root: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = copy(nih_root, tmp_path)
    for name in (b"\xff.png", b"\x1b[2J.png"):
        (root / os.fsdecode(name)).write_bytes(b"x")
    status, facts = check(recipe, tmp_path / "out", f"data.root={root}")
    assert (status, facts["files"]["unnamed"]) == (0, 2)
    assert "\udcff.png" in facts["files"]["first_unnamed"]
    assert "\x1b" not in capsys.readouterr().out


def test_what_a_store_could_not_read_counts_under_quick(faulty: Faulty, recipe: Path, tmp_path: Path) -> None:
    root, _ = faulty
    arguments = [f"data.root={root}", f"store.path={tmp_path / 'store'}", *SKIP]
    assert call("pack", recipe, *arguments) == 0
    assert call("check", recipe, *arguments, "--quick", "--out", tmp_path / "out") == 0
    facts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert facts["plan"]["dropped"] == {"no file": 1, "unreadable": 2}


@pytest.mark.real
def test_no_radiograph_is_an_outlier_and_most_inverted_ones_are_found(sample_data: Path) -> None:
    root = sample_data / "nih-256"
    names = sorted(path.relative_to(root).as_posix() for path in (root / "images").iterdir())
    frontal = np.zeros(len(names), bool)
    facts = read_files(root, names, lambda name: read_file(root / name))
    assert [listing.kind for listing in outliers.list_outliers(names, frontal, facts, 224)] == []
    turned = read_files(root, names, lambda name: 255 - read_file(root / name))
    found = {listing.kind: listing.images for listing in outliers.list_outliers(names, frontal, turned, 224)}
    assert set(found) == {"inverted"}
    assert len(found["inverted"]) > 0.9 * len(names)


def test_several_datasets_are_each_checked_alone(
    recipe: Path, chexpert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    also = f"data.also=[{{source: chexpert, root: {chexpert}}}]"
    assert call("check", recipe, also, f"store.path={tmp_path / 'no_store'}", "--out", tmp_path / "out") == 0
    nih, other = (
        json.loads((tmp_path / "out" / name / "check.json").read_text()) for name in ("nih", "chexpert")
    )
    assert len({cell["finding"] for cell in nih["cells"]}) == 14
    assert {cell["finding"] for cell in other["cells"]} > {"Fracture", "Support Devices"}
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "empty").mkdir()
    gone = f"data.also=[{{source: chexpert, root: {tmp_path / 'empty'}}}]"
    assert call("check", recipe, gone, f"store.path={tmp_path / 'no_store'}", "--out", tmp_path / "out") == 1
