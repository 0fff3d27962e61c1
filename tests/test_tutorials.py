"""Every command of the tutorials is run, in order, on small generated data in place of the real datasets."""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from cxr.config.schema import Phantom
from cxr.phantom.dataset import generate
from tests.helpers.commands import call
from tests.helpers.dicoms import write_dicom

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
SMALL = ["image.store_size=32", "image.size=32", "model.backbone=resnet18", "model.weights=none",
         "model.train_layers=head", "train.epochs=1", "train.batch_size=8", "train.precision=fp32"]  # fmt: skip
"""What keeps a training of the tutorials short."""
FINDINGS = ("Effusion", "Cardiomegaly")


def commands(page: Path) -> Iterator[list[str]]:
    """The arguments of each command of cxr in the page's blocks of code."""
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for line in block.splitlines():
            if line.startswith("cxr "):
                yield shlex.split(line, comments=True)[1:]


def copy_or_link(source: str, target: str) -> None:
    """Copy a file; one of weights, which is replaced and never changed in place, gets a second name."""
    is_large = source.endswith((".pt", ".safetensors"))
    (os.link if is_large else shutil.copy2)(source, target)


@pytest.fixture
def data(nih_root: Path, chexpert: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the tutorials name: datasets, a table of labels, predictions, runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second", "demo"):
        shutil.copytree(run, tmp_path / "runs" / name, copy_function=copy_or_link)
    shutil.copytree(nih_root, tmp_path / "nih")
    shutil.copytree(chexpert, tmp_path / "CheXpert-v1.0-small")
    # other images than those of the runs' training, or the leak check would refuse them
    generate(tmp_path / "other", Phantom(num_images=40, size=48, seed=9))
    (tmp_path / "images").mkdir()
    for number, path in enumerate(sorted((tmp_path / "other" / "images").iterdir())):
        path.rename(tmp_path / "images" / f"p{number // 2:03}_{number % 2}.png")
    images = sorted(path.name for path in (tmp_path / "images").iterdir())
    random = np.random.default_rng(0)
    labels = pd.DataFrame({"image": images, "patient_id": [name.split("_")[0] for name in images]})
    for finding in FINDINGS:
        labels[finding] = random.integers(0, 2, len(labels))
    labels.to_csv(tmp_path / "labels.csv", index=False)
    for name in ("predictions.csv", "validation.csv", "ours.csv", "theirs.csv"):
        probabilities = {f"p_{finding}": random.random(len(labels)) for finding in FINDINGS}
        pd.DataFrame({"image": images, **probabilities}).to_csv(tmp_path / name, index=False)
    # thresholds are chosen on other images than those that are evaluated
    pd.read_csv("predictions.csv")[:30].to_csv("predictions.csv", index=False)
    labels.merge(pd.read_csv("validation.csv"))[30:].to_csv("validation.csv", index=False)
    for reader in (1, 2):
        calls = {finding: random.integers(0, 2, len(labels)) for finding in FINDINGS}
        pd.DataFrame({"image": images, **calls}).to_csv(tmp_path / f"reader_{reader}.csv", index=False)
    shutil.copy(tmp_path / "images" / images[0], tmp_path / "chest.png")
    return tmp_path


@pytest.fixture
def dicoms(data: Path) -> None:
    """The images as DICOM files, under the names that the table of labels gives."""
    (data / "dicom_folder").mkdir()
    for path in (data / "images").iterdir():
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert pixels is not None
        write_dicom(data / "dicom_folder" / path.name, pixels.astype(np.uint16), bits=8)


def run_page(name: str, data: Path, skip: tuple[str, ...] = ()) -> None:
    page = dict.fromkeys(
        tuple(command) for command in commands(TUTORIALS / name)
    )  # some open with a later one
    assert page
    for command, *arguments in page:
        if command in skip:
            continue
        known = [re.sub(r"/data\b", str(data), text) for text in arguments]
        known += SMALL if command in ("check", "train") else []
        assert call(command, *known) == 0, shlex.join([command, *known])


def test_nih_from_download_to_a_table(data: Path) -> None:
    run_page("nih.md", data, skip=("download",))
    assert (data / "runs" / "nih_densenet121" / "eval_test" / "metrics.csv").exists()
    assert list((data / "overlays").glob("*.png"))


def test_my_own_csv(data: Path) -> None:
    run_page("csv.md", data)
    assert (data / "runs" / "my" / "eval_test" / "report.html").exists()


def test_a_folder_of_dicom_files(data: Path, dicoms: None, capsys: pytest.CaptureFixture[str]) -> None:
    run_page("dicom.md", data)
    assert capsys.readouterr().out.count("dicom_folder/") >= 40


def test_predictions_of_somebody_else(data: Path) -> None:
    run_page("predictions.md", data)
    metrics = pd.read_csv(data / "predictions_report" / "metrics.csv")
    assert list(metrics["finding"]) == [*FINDINGS, "mean", "micro"]


def test_two_models_are_compared(data: Path) -> None:
    (data / "mine").mkdir()
    labels = pd.read_csv("labels.csv").rename(columns={finding: f"y_{finding}" for finding in FINDINGS})
    random = np.random.default_rng(1)
    for name in ("a", "b", "c", "a0", "a1", "a2", "b0", "b1", "b2", "internal", "external"):
        own = labels.assign(**{f"p_{finding}": random.random(len(labels)) for finding in FINDINGS})
        if name == "external":  # other images of other patients
            own[["image", "patient_id"]] = "e" + own[["image", "patient_id"]]
        own.to_csv(f"{name}.csv", index=False)
    run_page("compare.md", data)
    assert (data / "comparison" / "comparison.csv").exists()


def test_another_hospitals_data(data: Path) -> None:
    (data / "runs" / "first").rename(data / "runs" / "nih_densenet121")
    shutil.copytree(data / "images", data / "mine")
    shutil.copy(data / "labels.csv", data / "mine")
    run_page("hospital.md", data)
    assert len(list((data / "runs" / "nih_densenet121").glob("eval_*_on_*"))) == 2
