"""Several datasets in one training, and a run evaluated on another hospital's data."""

import itertools
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from cxr.cli import main
from cxr.config.load import load, override
from cxr.config.schema import Config
from cxr.data.dataset import Dataset, open_dataset
from cxr.data.loader import Batch, Loader
from cxr.errors import CxrError
from cxr.evaluation.report import Report
from cxr.model import checkpoint as checkpoints
from cxr.model.evaluate import evaluate_runs
from cxr.training import train as loop
from cxr.training.loss import masked_bce
from cxr.training.resume import restore
from cxr.training.setup import prepare
from cxr.training.state import new_state
from cxr.training.step import train_step
from cxr.training.train import Stopped, train
from tests.helpers.fakes import write_lines
from tests.helpers.models import ALONE, HEAD
from tests.training.test_train import assert_same_run


def call(*arguments: object) -> object:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture(scope="session")
def recipe_file(nih_root: Path, chexpert: Path) -> Path:
    """Trains on both datasets, CheXpert's training rows one and a half times an epoch."""
    path = nih_root.parent / "both.yaml"
    path.write_text(
        f"data:\n  source: nih\n  root: {nih_root}\n  val_fraction: 0.3\n  also:\n"
        f"    - {{source: chexpert, root: {chexpert}, split: random, val_fraction: 0.3, weight: 1.5}}\n"
        "image: {store_size: 32, size: 32}\n"
        f"store: {{path: {nih_root.parent / 'stores' / 'both'}, where: disk}}\n"
        "model: {backbone: resnet18, weights: none}\n"
        "train: {epochs: 2, batch_size: 8, lr: 1e-3, ema: 0.9, precision: fp32}\n"
    )
    return path


@pytest.fixture(scope="session")
def config(recipe_file: Path) -> Config:
    return load(recipe_file)


@pytest.fixture(scope="session")
def both(config: Config) -> Dataset:
    return open_dataset(config)


@pytest.fixture(scope="module")
def joint_run(recipe_file: Path) -> Path:
    """The run that the command trains on both datasets."""
    out = recipe_file.parent / "joint_run"
    assert call("train", recipe_file, f"out={out}") == 0
    return out


@pytest.fixture(scope="module")
def nih_run(recipe_file: Path) -> Path:
    """The run that the command trains on the first dataset alone."""
    out = recipe_file.parent / "nih_run"
    assert call("train", recipe_file, f"out={out}", "data.also=[]", "train.epochs=1", HEAD) == 0
    return out


def evaluate_run(run: Path, *overrides: str, fold: str = "test") -> tuple[Report, pd.DataFrame]:
    """The report without intervals, and the predictions as a frame."""
    report, predictions = evaluate_runs([run], ["eval.interval=none", *overrides], fold)
    return report, predictions.rows


def test_a_run_on_both_datasets_is_evaluated_on_both_and_on_each(joint_run: Path, both: Dataset) -> None:
    assert call("eval", joint_run, "--split", "train", "eval.interval=none") == 0
    rows = pd.read_csv(joint_run / "eval_train" / "predictions.csv")
    assert rows["source"].value_counts().to_dict() == {
        part.name: len(part.rows("train")) for part in both.datasets
    }
    assert rows["image"].str.partition("/")[0].equals(rows["source"])
    assert rows.loc[rows["source"] == "chexpert", "y_Hernia"].isna().all()
    groups = pd.read_csv(joint_run / "eval_train" / "subgroups.csv")
    own = groups[(groups["attribute"] == "source") & (groups["finding"] == "Atelectasis")]
    assert own["group"].tolist() == ["chexpert", "nih"]


def batch_of(dataset: Dataset, loader: Loader, source: str) -> Batch:
    rows = np.flatnonzero(dataset.table.rows["source"] == source)[:8].astype(np.int64)
    return next(iter(loader.batches(rows, 8)))


@pytest.mark.parametrize(("source", "finding"), [("chexpert", "Hernia"), ("nih", "Lung Opacity")])
def test_rows_of_a_dataset_give_no_gradient_to_what_it_does_not_label(
    source: str, finding: str, config: Config, both: Dataset
) -> None:
    run = prepare(config, both, ALONE)
    state, _ = new_state(config, both.targets.findings, run.weights, ALONE)
    batch, column = batch_of(both, run.loader, source), both.targets.findings.index(finding)

    def gradients(y: Tensor) -> tuple[Tensor, Tensor]:
        state.model.zero_grad()
        logits = state.model(batch.images[:, None].float())
        masked_bce(logits, y, batch.mask, run.weights).backward()  # type: ignore[no-untyped-call]
        head = state.model.head
        assert head.weight.grad is not None and head.bias.grad is not None
        return head.weight.grad.clone(), head.bias.grad.clone()

    weight, bias = gradients(batch.y)
    assert weight[column].eq(0).all() and bias[column] == 0
    assert weight.abs().sum() > 0
    flipped = batch.y.clone()
    flipped[:, column] = 1 - flipped[:, column]
    changed, _ = gradients(flipped)
    assert torch.equal(changed, weight)
    others, _ = gradients(1 - batch.y)
    assert others[column].eq(0).all() and not torch.equal(others, weight)


def test_a_stopped_run_with_weights_resumes_as_the_straight_run(
    config: Config, both: Dataset, joint_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = override(config, [f"out={tmp_path}"])
    steps = itertools.count(1)

    def step(*arguments: object) -> Tensor:
        loss = train_step(*arguments)  # type: ignore[arg-type]  # handed on unread
        if next(steps) == run_steps + 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    run_steps = prepare(config, both, ALONE).steps_per_epoch
    assert run_steps > -(-len(both.rows("train")) // 8)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", step)
        with pytest.raises(Stopped):
            train(stopped, both, ALONE)
    train(stopped, both, ALONE, resume=True)
    assert_same_run(stopped.out, joint_run)


def test_another_weight_is_another_recipe_but_another_root_is_not(
    joint_run: Path, config: Config, tmp_path: Path
) -> None:
    again = override(config, [f"out={joint_run}", "data.also.0.weight=2", f"data.also.0.root={tmp_path}"])
    saved = checkpoints.load_resumable(joint_run / checkpoints.LAST)
    dataset = open_dataset(config)
    run = prepare(config, dataset, ALONE)
    state, _ = new_state(config, dataset.targets.findings, run.weights, ALONE)
    with pytest.raises(CxrError) as error:
        restore(state, again, {}, saved)
    assert error.value.problems == (f"{joint_run}: data.also.0.weight was 1.5 and is now 2.0",)


def test_a_patient_of_a_joint_training_is_recognised_on_the_dataset_alone(joint_run: Path) -> None:
    with pytest.raises(
        CxrError, match=r"\d+ of the \d+ patients to be evaluated were in the model's train rows"
    ):
        evaluate_run(joint_run, "data.also=[]", "data.split=random", "data.split_seed=3")


def test_a_patient_of_one_dataset_is_recognised_when_both_are_evaluated(
    nih_run: Path, chexpert: Path
) -> None:
    also = f"data.also=[{{source: chexpert, root: {chexpert}, split: random}}]"
    with pytest.raises(CxrError, match=r"patients of nih to be evaluated were in the model's train rows"):
        evaluate_run(nih_run, also, "data.split=random", "data.split_seed=3")


def test_a_joint_run_evaluates_a_dataset_alone_as_it_does_among_both(joint_run: Path, nih_root: Path) -> None:
    report, rows = evaluate_run(joint_run, "data.also=[]")
    _, every = evaluate_run(joint_run)
    own = every[every["source"] == "nih"]
    assert ("nih/" + rows["image"]).tolist() == own["image"].tolist()
    assert not [note for note in report.notes if "another dataset" in note]
    again, _ = evaluate_run(joint_run, "data.source=nih", f"data.root={nih_root}")
    assert again.table["auroc"].tolist() == pytest.approx(report.table["auroc"].tolist(), abs=0, nan_ok=True)


def test_thresholds_chosen_on_an_image_are_marked_when_it_is_evaluated_alone(joint_run: Path) -> None:
    report, rows = evaluate_run(joint_run, "data.also=[]", fold="val")
    assert report.optimistic
    assert report.notes[0].startswith(f"thresholds were chosen on {len(rows)} of the {len(rows)} images")


@pytest.fixture(scope="module")
def abroad(nih_run: Path, chexpert: Path) -> Path:
    """The folder of the first hospital's model's report on the second hospital's data, by the command."""
    overrides = (
        "data.source=chexpert",
        f"data.root={chexpert}",
        "data.split=random",
        "data.test_fraction=0.7",
    )
    assert call("eval", nih_run, *overrides, f"store.path={nih_run.parent / 'abroad'}", "eval.draws=100") == 0
    assert not (nih_run / "eval_test").exists()  # which is the run's own
    return nih_run / f"eval_test_on_chexpert-{chexpert.name}"


def test_another_hospitals_labels_are_aligned_by_concept(abroad: Path, chexpert: Path) -> None:
    rows = pd.read_csv(abroad / "predictions.csv").set_index("image")
    csv = pd.read_csv(next(chexpert.glob("**/train.csv"))).set_index("Path")
    csv.index = csv.index.str.extract("(train/.*)", expand=False)
    common = rows.index.intersection(csv.index)
    assert len(common) > 10
    own = csv.loc[common, "Pleural Effusion"].fillna(0)
    assert rows.loc[common, "y_Effusion"].equals(
        own.where(own != -1).rename("y_Effusion").rename_axis("image")
    )
    known = rows["y_Effusion"].notna()
    auroc = pd.read_csv(abroad / "metrics.csv").set_index("finding")["auroc"].astype(float)
    assert auroc["Effusion"] == pytest.approx(
        roc_auc_score(rows["y_Effusion"][known], rows["p_Effusion"][known])
    )


def test_what_another_hospital_does_not_label_is_not_available(abroad: Path) -> None:
    figures = pd.read_csv(abroad / "metrics.csv").set_index("finding")
    lacking = ["Infiltration", "Mass", "Nodule", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia"]
    assert (figures.loc[lacking, "num"] == 0).all() and figures.loc[lacking, "auroc"].isna().all()
    page = (abroad / "report.md").read_text()
    assert f"n/a, no image with a known label: {', '.join(lacking)}" in page
    assert f"Effusion is its Pleural Effusion, not labelled: {', '.join(lacking)}" in page


def test_the_report_says_that_the_dataset_is_another_and_keeps_the_thresholds(
    abroad: Path, nih_run: Path
) -> None:
    assert (
        "chexpert is another dataset than the model was trained on (nih)"
        in (abroad / "report.md").read_text()
    )
    thresholds = pd.read_csv(abroad / "metrics.csv").set_index("finding")["threshold"]
    own = checkpoints.load(nih_run).thresholds
    assert thresholds[list(own.findings)].tolist() == pytest.approx(list(own.values))


def test_keys_of_the_training_dataset_do_not_follow_to_another(nih_run: Path, chexpert: Path) -> None:
    overrides = ["data.source=chexpert", f"data.root={chexpert}", "data.split=random"]
    report, _ = evaluate_run(nih_run, *overrides, f"store.path={nih_run.parent / 'abroad'}")
    assert dict(report.about)["split"] == "random by patient (seed 0)"
    with pytest.raises(CxrError, match="trained on Preprocess"):
        evaluate_run(nih_run, *overrides, "image.fit=crop")


def test_thresholds_chosen_again_on_another_dataset_are_named(nih_run: Path, chexpert: Path) -> None:
    overrides = ["data.source=chexpert", f"data.root={chexpert}", "data.split=random"]
    report, _ = evaluate_run(nih_run, *overrides, f"store.path={nih_run.parent / 'abroad'}", "eval.tta=flip")
    assert "thresholds were chosen on validation images of the dataset evaluated" in report.notes[1]


Write = Callable[..., list[str]]


@pytest.fixture
def hospital(nih_root: Path, tmp_path: Path) -> Write:
    """Writes a table of copies of the first dataset's images that labels a finding; returns its overrides."""

    def write(heading: str, prefix: str = "scan_") -> list[str]:
        names = [prefix + path.name for path in sorted(nih_root.glob("images/*.png"))]
        for name in names:
            shutil.copy(nih_root / "images" / name.removeprefix(prefix), tmp_path / name)
        lines = [f"{name},{n},test,{n % 2}" for n, name in enumerate(names)]
        write_lines(tmp_path / "labels.csv", [f"image,patient_id,split,{heading}", *lines])
        store = f"store.path={tmp_path / 'store'}"
        return [
            "data.source=table",
            f"data.root={tmp_path}",
            "data.csv=labels.csv",
            "data.split=column",
            store,
        ]

    return write


def test_a_table_of_another_hospital_may_call_a_finding_otherwise(nih_run: Path, hospital: Write) -> None:
    report, rows = evaluate_run(nih_run, *hospital("Pleural Effusion"))
    assert len(rows) == 40
    known = report.table.set_index("finding")["num"]
    assert known["Effusion"] == 40 and known.drop("Effusion").sum() == 0


def test_images_of_the_training_are_known_under_other_patient_ids(nih_run: Path, hospital: Write) -> None:
    with pytest.raises(
        CxrError, match=r"of the 40 images, under other patient ids, to be evaluated were in the model's"
    ):
        evaluate_run(nih_run, *hospital("Mass", prefix=""))


def test_a_dataset_that_labels_none_of_the_findings_is_refused(nih_run: Path, hospital: Write) -> None:
    with pytest.raises(CxrError, match="labels none of Atelectasis, "):
        evaluate_run(nih_run, *hospital("Scoliosis"))
