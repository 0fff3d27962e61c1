"""Several datasets in one check, compared with what cxr train makes of the same config."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest

from cxr.config.load import load
from cxr.config.schema import Config
from cxr.data.dataset import Dataset, open_dataset
from cxr.errors import CxrError
from cxr.findings import NIH_14
from cxr.training.setup import prepare
from tests.check.test_check import check, listed, page_of
from tests.helpers.commands import call
from tests.helpers.dicoms import make_dicom
from tests.helpers.fakes import write_lines
from tests.helpers.models import ALONE

Facts = dict[str, Any]


def also(root: Path, **keys: object) -> str:
    """The override that adds a dataset in CheXpert's layout, or as `keys` say."""
    section: dict[str, object] = {"source": "chexpert", "root": str(root), "split": "random"} | keys
    return f"data.also=[{json.dumps(section)}]"


def trained(recipe: Path, folder: Path, *overrides: str) -> tuple[Config, Dataset]:
    """What cxr train would open."""
    config = load(recipe, [f"store.path={folder / 'packed'}", *overrides])
    return config, open_dataset(config)


def write_table(
    root: Path, folds: str, finding: str = "Effusion", first: int = 100, **columns: str
) -> dict[str, object]:
    """A table source with an image and a patient for each fold named, and its keys."""
    more = "".join(f",{name}" for name in columns), "".join(f",{value}" for value in columns.values())
    lines = [f"{n}.png,{first + n},{fold},{n % 2}{more[1]}" for n, fold in enumerate(folds.split())]
    write_lines(root / "labels.csv", [f"image,patient_id,split,{finding}{more[0]}", *lines])
    for number in range(len(lines)):
        pixels = np.random.default_rng(first + number).integers(0, 256, (48, 48), dtype=np.uint8)
        assert cv2.imwrite(str(root / f"{number}.png"), pixels)
    return {"source": "table", "csv": "labels.csv", "split": "column", "columns": {"others": [*columns]}}


def warned(facts: Facts, start: str) -> list[str]:
    return [line for line in facts["warnings"] if line.startswith(start)]


@pytest.mark.parametrize("weight", [0.3, 1, 2.5])
def test_the_plan_is_what_training_does(weight: float, recipe: Path, chexpert: Path, tmp_path: Path) -> None:
    overrides = [also(chexpert, weight=weight), "train.batch_size=7"]
    status, facts = check(recipe, tmp_path / "out", *overrides)
    config, dataset = trained(recipe, tmp_path, *overrides)
    plan, counts = facts["plan"], dataset.counts()
    assert (status, facts["problems"], plan["images"]) == (0, [], counts["images"])
    assert plan["patients"] == counts["patients"]
    assert plan["steps_per_epoch"] == prepare(config, dataset, ALONE).steps_per_epoch
    assert plan["visits"] == sum(dataset.visits())
    assert [share["visits"] for share in plan["datasets"]] == dataset.visits()
    assert [share["share"] for share in plan["datasets"]] == [
        num / sum(dataset.visits()) for num in dataset.visits()
    ]
    assert plan["findings"] == list(dataset.targets.findings)


def test_a_weight_changes_the_steps_of_a_single_dataset_too(recipe: Path, tmp_path: Path) -> None:
    _, facts = check(recipe, tmp_path / "out", "data.weight=2.5", "train.batch_size=7")
    config, dataset = trained(recipe, tmp_path, "data.weight=2.5", "train.batch_size=7")
    assert facts["plan"]["steps_per_epoch"] == prepare(config, dataset, ALONE).steps_per_epoch
    assert facts["plan"]["datasets"] == []


def test_cells_are_those_of_training_and_tell_blank_from_not_labelled(
    recipe: Path, chexpert: Path, tmp_path: Path
) -> None:
    _, facts = check(recipe, tmp_path / "out", also(chexpert))
    _, dataset = trained(recipe, tmp_path, also(chexpert))
    cells = pd.DataFrame(facts["cells"]).groupby("finding", sort=False).sum(numeric_only=True)
    raw = pd.DataFrame(dataset.table.raw, columns=list(dataset.targets.findings))
    assert cells["positive"].to_dict() == (raw == 1).sum().to_dict()
    assert cells["uncertain"].to_dict() == (raw == -1).sum().to_dict()
    assert (cells["blank"] + cells["unlabelled"]).to_dict() == raw.isna().sum().to_dict()
    assert cells["unlabelled"][["Edema", "Hernia", "Fracture"]].tolist() == [0, 40, 40]
    positive = (raw == 1).astype(int)
    assert facts["together"]["counts"] == (positive.T @ positive).to_numpy().tolist()


def test_each_dataset_is_shown_alone_under_the_names_of_the_training(
    recipe: Path, chexpert: Path, tmp_path: Path
) -> None:
    check(recipe, tmp_path / "out", also(chexpert), "data.findings=[Effusion, Hernia, Fracture]")
    for name, findings in (("nih", ["Effusion", "Hernia"]), ("chexpert", ["Effusion", "Fracture"])):
        facts = json.loads((tmp_path / "out" / name / "check.json").read_text())
        assert (facts["plan"]["findings"], facts["plan"]["steps_per_epoch"]) == (findings, None)
        assert facts["verdict"].startswith(f"{name}: no problems")
        assert (tmp_path / "out" / name / "check.html").exists()


def test_a_name_that_no_dataset_labels_is_one_problem_and_the_rest_is_counted(
    recipe: Path, chexpert: Path, tmp_path: Path
) -> None:
    findings = "data.findings=[Edema, Hernai, Fracture]"
    status, facts = check(recipe, tmp_path / "out", also(chexpert), findings)
    with pytest.raises(CxrError) as error:
        trained(recipe, tmp_path, also(chexpert), findings)
    assert (status, facts["problems"]) == (1, list(error.value.problems))
    assert facts["plan"]["findings"] == ["Edema", "Fracture"]


def test_a_policy_for_no_finding_is_named_by_its_key(recipe: Path, chexpert: Path, tmp_path: Path) -> None:
    status, facts = check(recipe, tmp_path / "out", also(chexpert, uncertain={"Oedema": "ones"}))
    assert (status, facts["problems"]) == (1, ["data.also.0.uncertain: 'Oedema' is no finding here"])


def test_duplicate_images_of_two_datasets_are_found_and_leaks_told_apart(
    recipe: Path, nih_root: Path, tmp_path: Path, chexpert: Path
) -> None:
    root = Path(shutil.copytree(chexpert, tmp_path / "chexpert"))
    _, dataset = trained(recipe, tmp_path, also(root))
    rows = dataset.table.rows.assign(fold=dataset.assigned)
    of = {(source, fold): some["path"].iloc[0] for (source, fold), some in rows.groupby(["source", "fold"])}
    planted = {of["nih", "test"]: of["chexpert", "train"], of["nih", "val"]: of["chexpert", "val"]}
    for path, other in planted.items():
        (root / other).write_bytes((nih_root / path).read_bytes())
    status, facts = check(recipe, tmp_path / "out", also(root))
    leak, same = (
        [f"{name}/{path}" for name, path in zip(("nih", "chexpert"), pair, strict=True)]
        for pair in planted.items()
    )
    assert [group["images"] for group in facts["twins"]] == [leak, same]
    assert [group["datasets"] for group in facts["twins"]] == [["nih", "chexpert"]] * 2
    assert [group["splits"] for group in facts["twins"]] == [["train", "test"], ["val"]]
    assert warned(facts, "leak") == [
        f"leak: duplicate images in splits of two datasets: 1: {' = '.join(leak)}"
    ]
    assert warned(facts, "duplicate images in more than one dataset: 2: ")
    assert status == 0
    assert len(re.findall('alt="One of several equal images: (?:nih|chexpert)/', page_of(tmp_path))) == 4


def test_a_patient_in_splits_of_two_datasets_is_counted_and_not_named(
    recipe: Path, nih_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = also(nih_root, source="nih", split_seed=4)
    status, facts = check(recipe, tmp_path / "out", again)
    with pytest.raises(CxrError) as error:
        trained(recipe, tmp_path, again)
    assert (status, facts["hints"]) == (1, [error.value.hint])
    num = facts["patients"]["in_two_splits"]
    assert facts["problems"] == [f"data.split: leak: patients in different splits of two datasets: {num}"]
    assert (
        facts["patients"]["num"]
        == pd.read_csv(nih_root / "Data_Entry_2017_v2020.csv")["Patient ID"].nunique()
    )
    printed = capsys.readouterr()
    assert not re.search(r"patient \d", printed.out) and re.search(
        r"data\.split: patient \d+ is in ", printed.err
    )


@pytest.mark.parametrize("folds", ["val", "test", "val test test", "train train train"])
def test_a_further_dataset_may_lack_splits_as_in_training(folds: str, recipe: Path, tmp_path: Path) -> None:
    keys = write_table(tmp_path / "more", folds)
    status, facts = check(recipe, tmp_path / "out", also(tmp_path / "more", **keys))
    config, dataset = trained(recipe, tmp_path, also(tmp_path / "more", **keys))
    assert (status, facts["problems"]) == (0, [])
    assert facts["plan"]["steps_per_epoch"] == prepare(config, dataset, ALONE).steps_per_epoch
    assert facts["plan"]["datasets"][1]["images"] == dataset.parts[1].counts()["images"]


def test_no_dataset_with_training_rows_is_refused_as_in_training(recipe: Path, tmp_path: Path) -> None:
    keys = write_table(tmp_path / "a", "val test"), write_table(tmp_path / "b", "test val", first=200)
    main = [f"data.{name}={json.dumps(value)}" for name, value in keys[0].items()]
    overrides = [
        *main,
        f"data.root={tmp_path / 'a'}",
        "data.name=a",
        also(tmp_path / "b", **keys[1], name="b"),
    ]
    status, facts = check(recipe, tmp_path / "out", *overrides)
    with pytest.raises(CxrError) as error:
        prepare(*trained(recipe, tmp_path, *overrides), ALONE)
    assert (status, facts["problems"]) == (1, list(error.value.problems))
    assert facts["plan"]["steps_per_epoch"] is None


def test_a_fault_of_a_further_dataset_names_its_own_keys(
    recipe: Path, chexpert: Path, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(chexpert, tmp_path / "chexpert"))
    lost, cut, *_ = sorted(root.rglob("*.jpg"))
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:300])
    status, facts = check(recipe, tmp_path / "out", also(root))
    assert (status, len(facts["problems"])) == (1, 2)
    assert {kind: [name.split("/")[0] for name in images] for kind, images in listed(facts).items()} == {
        "missing": ["chexpert"],
        "truncated": ["chexpert"],
    }
    assert all("data.also.0." in hint for hint in facts["hints"])
    status, facts = check(recipe, tmp_path / "out", also(root, missing="skip", unreadable="skip"))
    assert (status, facts["plan"]["dropped"]) == (0, {"chexpert: no file": 1, "chexpert: unreadable": 1})


def test_a_dataset_that_cannot_be_read_makes_no_problem_of_a_finding(recipe: Path, tmp_path: Path) -> None:
    findings = "data.findings=[Edema, Fracture]"
    status, facts = check(recipe, tmp_path / "out", also(tmp_path / "absent"), findings)
    assert (status, len(facts["problems"]), facts["plan"]["findings"]) == (1, 1, ["Edema"])
    assert "absent: no such folder" in facts["problems"][0]


def test_a_column_called_source_is_refused_as_in_training(recipe: Path, tmp_path: Path) -> None:
    keys = write_table(tmp_path / "more", "train val test", source="x")
    status, facts = check(recipe, tmp_path / "out", also(tmp_path / "more", **keys))
    with pytest.raises(CxrError) as error:
        trained(recipe, tmp_path, also(tmp_path / "more", **keys))
    assert (status, facts["problems"]) == (1, list(error.value.problems))


def test_stores_that_fit_a_disk_only_one_by_one_do_not_fit(
    recipe: Path, chexpert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=60 * 32**2)
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    status, facts = check(recipe, tmp_path / "out", also(chexpert))
    assert (status, len(facts["problems"])) == (1, 1)
    assert facts["problems"][0].endswith("the disk has 0.1 MB free and the stores need 0.1 MB")
    assert check(recipe, tmp_path / "out")[0] == 0


@pytest.mark.figures
def test_terminal_json_and_page_say_the_same(
    recipe: Path,
    chexpert: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    findings = "data.findings=[Edema, Hernai, Fracture]"
    _, facts = check(recipe, tmp_path / "out", also(chexpert, weight=0.5), findings)
    printed = capsys.readouterr().out.split("all datasets together")[1]
    page = re.sub(r"<[^>]*>", " ", page_of(tmp_path)).replace("&#39;", "'")
    lines = [*facts["problems"], *facts["warnings"], facts["verdict"]]
    for share in facts["plan"]["datasets"]:
        lines += [f"{share['visits']} images of {share['name']} ({100 * share['share']:.1f} %)"]
        cells = [share["name"], *share["images"].values(), f"{share['weight']:g}", share["visits"]]
        assert re.search(r"\s+".join(map(str, cells)), printed) and re.search(
            r"\s+".join(map(str, cells)), page
        )
    lines += [
        f"{facts['plan']['steps_per_epoch']} steps each",
        f"an epoch draws {facts['plan']['visits']} training",
    ]
    assert [line for line in lines if line not in printed] == []
    assert [line for line in lines if line not in page] == []


def test_a_single_dataset_keeps_its_keys(recipe: Path, tmp_path: Path) -> None:
    _, facts = check(recipe, tmp_path / "out")
    keys = """cxr verdict ready about quick problems hints warnings files listings twins cells together groups
              patients split_hashes plan"""
    assert set(keys.split()) <= facts.keys()
    plan = "images patients findings dropped batch_size epochs steps_per_epoch store store_bytes where"
    assert set(plan.split()) <= facts["plan"].keys()
    assert {cell["finding"] for cell in facts["cells"]} == set(NIH_14)
    assert {cell["unlabelled"] for cell in facts["cells"]} == {0}


def write_dicoms(root: Path, num: int) -> list[str]:
    """A table of DICOM files and the overrides that read it."""
    lines = [f"{n}.dcm,{n},{n % 2},PA,F,50" for n in range(num)]
    write_lines(root / "labels.csv", ["image,patient_id,Mass,view,sex,age", *lines])
    for number in range(num):
        pixels = np.random.default_rng(number).integers(0, 4096, (40, 40), dtype=np.uint16)
        make_dicom(pixels).save_as(root / f"{number}.dcm", enforce_file_format=True)
    columns = "data.columns={view: view, sex: sex, age: age}"
    return ["data.source=table", "data.csv=labels.csv", "data.split=random", f"data.root={root}", columns]


@pytest.mark.parametrize("quick", [[], ["--quick"]])
def test_without_pydicom_all_dicom_files_are_one_problem(
    quick: list[str], recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = write_dicoms(tmp_path / "dicom", 20)
    assert check(recipe, tmp_path / "out", *overrides, *quick)[0] == 0
    monkeypatch.setitem(sys.modules, "pydicom", None)
    status, facts = check(recipe, tmp_path / "out", *overrides, *quick)
    assert (status, len(facts["problems"]), facts["listings"]) == (1, 1, [])
    assert facts["problems"][0].endswith("reading DICOM needs pydicom")
    assert facts["hints"] == ["pip install 'cxr[dicom]'"]
    assert sum(facts["plan"]["images"].values()) == 20
    if not quick:
        assert facts["problems"] == [f"{tmp_path / 'dicom'}: 20 files not read: reading DICOM needs pydicom"]
        assert (facts["files"]["not_read"], facts["files"]["unreadable"]) == (20, 0)


def test_a_count_of_one_is_written_in_the_singular(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = write_table(tmp_path / "few", "train val test", "Mass")
    more = [f"data.{name}={json.dumps(value)}" for name, value in keys.items()]
    out = tmp_path / "out"
    assert (
        call(
            "check",
            recipe,
            *more,
            f"data.root={tmp_path / 'few'}",
            "--out",
            out,
            "image.size=64",
            "store.path=none",
            "train.select=loss",
        )
        == 0
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "train on 1 image of 1 patient, validate on 1 image of 1 patient, test on 1 image of 1 patient; 1 f"
        in printed
    )
    assert "1 epoch in batches of 16: 1 step each, 1 step in all" in printed
    several = "images|patients|rows|files|findings|epochs|steps|warnings|problems"
    assert not re.search(rf"(?<![\d,.])1 ({several})\b(?!:)", f"{printed} {page_of(tmp_path)}")


def test_validation_rows_of_one_class_are_refused_as_in_training(recipe: Path, tmp_path: Path) -> None:
    keys = write_table(tmp_path / "few", "train train val test", "Mass")
    more = [
        *(f"data.{name}={json.dumps(value)}" for name, value in keys.items()),
        f"data.root={tmp_path / 'few'}",
    ]
    status, facts = check(recipe, tmp_path / "out", *more)
    with pytest.raises(CxrError) as error:
        prepare(*trained(recipe, tmp_path, *more), ALONE)
    assert (status, facts["problems"]) == (1, list(error.value.problems))
    assert check(recipe, tmp_path / "out", *more, "train.select=loss")[0] == 0
