"""cxr export: an ONNX file beside PyTorch, its metadata, smaller precisions, and what is refused."""

import copy
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import DenseNet

from benchmarks.export_parity import make_config, random_checkpoint
from cxr.arrays import AnyArray
from cxr.commands import export as command
from cxr.config.load import load
from cxr.config.schema import TTA
from cxr.data.dataset import open_dataset, preprocess
from cxr.deploy import export_targets, parity
from cxr.deploy.export_images import CheckImages, RunImages, generate_images, read_images
from cxr.deploy.export_program import open_session, run_module, run_session, trace
from cxr.deploy.export_targets import Exported
from cxr.deploy.graph import Graph
from cxr.deploy.onnx_format import (
    CALIBRATED,
    CAM,
    KEY,
    LOGIT,
    OOD_SCORE,
    PROBABILITY,
    ExportMetadata,
    from_json,
    is_intact,
)
from cxr.evaluation.recalibration import Recalibration, to_json
from cxr.evaluation.thresholds import Thresholds
from cxr.evaluation.thresholds import to_json as points_to_json
from cxr.findings import NIH_14
from cxr.images.read import read_file
from cxr.model import checkpoint as checkpoints
from tests.helpers.commands import call
from tests.helpers.narrow import narrow_backbones

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

onnx = pytest.importorskip("onnx", reason="cxr[export] is not installed")
pytest.importorskip("onnxscript", reason="cxr[export] is not installed")
pytest.importorskip("onnxruntime", reason="cxr[export] is not installed")

Said = pytest.CaptureFixture[str]
SECRET = "0123456789ab"
HALF_VALIDATES = "data.val_fraction=0.5"


@pytest.fixture(scope="module")
def small_densenet() -> Iterator[None]:
    """A `densenet121` of four layers, with a batch norm before every convolution as the whole one has."""

    def build(name: str, **_: object) -> nn.Module:
        assert name == "densenet121"
        network: nn.Module = DenseNet(growth_rate=4, block_config=(1, 1, 1, 1), num_init_features=8)
        return network

    with mock.patch("cxr.model.classifier.get_model", build):
        yield


@pytest.fixture(scope="module")
def calibrated(small_densenet: None, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the dataset with random weights, an OOD detector, and a calibration of all but Hernia."""
    config = load(recipe, ["model.backbone=densenet121"])
    dataset = open_dataset(config)
    squares = torch.cat(list(RunImages(dataset).batches(np.arange(len(dataset.table)))))
    checkpoint = random_checkpoint("densenet121", CheckImages("", squares), config)
    lacks = [finding == "Hernia" for finding in NIH_14]
    lines = Recalibration(
        NIH_14,
        tuple(np.nan if one else -0.5 for one in lacks),
        tuple(np.nan if one else 0.6 for one in lacks),
        tuple("3 positive images, fewer than 10" if one else "" for one in lacks),
        "validation rows (500 images)",
        # so few that the bounds of calibrated probabilities matter
        num_images=(5,) * 14,
    )
    points = Thresholds(
        NIH_14, (0.25,) * 14, "f1", "validation rows (500 images)", images=frozenset([SECRET])
    )
    update = {"temperatures": to_json(lines), "thresholds": points_to_json(points)}
    metadata = checkpoint.metadata.model_copy(update=update)
    path = tmp_path_factory.mktemp("export") / "run.safetensors"
    checkpoints.save(
        path, replace(checkpoint, metadata=metadata, patients={"train": torch.tensor([123456789])})
    )
    return path


@pytest.fixture(scope="module")
def traced(calibrated: Path) -> "torch.export.ExportedProgram":
    """The model as torch.export's program: traced once, as this takes some seconds."""
    return trace(Graph(checkpoints.load(calibrated)))


@pytest.fixture(scope="module")
def exported(calibrated: Path, traced: "torch.export.ExportedProgram", nih_root: Path) -> Path:
    """The file that the command writes, compared on the images of the dataset in their own size."""
    path = calibrated.with_suffix(".onnx")
    images = ("--images", nih_root / "images", "--licence", "CC-BY-4.0")
    with mock.patch.object(export_targets, "trace", lambda graph: traced):
        assert call("export", calibrated, "--to", "onnx", "--out", path, *images) == 0
    return path


@pytest.fixture(scope="module")
def metadata(exported: Path) -> ExportMetadata:
    (entry,) = onnx.load(exported).metadata_props
    assert entry.key == KEY
    return from_json(entry.value)


def portraits(num: int = 8) -> AnyArray:
    return np.random.default_rng(3).integers(0, 256, (num, 90, 61), np.uint8)


def test_the_file_gives_what_pytorch_gives(exported: Path, calibrated: Path, nih_root: Path) -> None:
    checkpoint = checkpoints.load(calibrated)
    images = read_images([nih_root / "images"], checkpoint.metadata.preprocess)
    session = open_session(exported.read_bytes())
    differences = parity.compare(checkpoint, partial(run_session, session), images)
    assert set(differences) == {PROBABILITY, CALIBRATED, LOGIT, CAM, "embedding", OOD_SCORE}
    assert max(differences.values()) < 1e-4


def test_a_finding_without_a_fit_keeps_its_probability(exported: Path) -> None:
    values = run_session(open_session(exported.read_bytes()), portraits())
    is_equal = np.abs(values[PROBABILITY] - values[CALIBRATED]).max(axis=0) < 1e-6
    assert [finding for finding, equal in zip(NIH_14, is_equal, strict=True) if equal] == ["Hernia"]


def test_maps_sum_up_to_the_logit_inside_the_file(exported: Path, metadata: ExportMetadata) -> None:
    values = run_session(open_session(exported.read_bytes()), portraits())
    logits = values[CAM].mean(axis=(2, 3)) + np.array(metadata.bias)
    assert np.allclose(logits, values[LOGIT], atol=1e-5)
    shifted = 1 / (1 + np.exp(-(values[LOGIT] + np.array(metadata.logit_shift))))
    assert np.allclose(shifted, values[PROBABILITY], atol=1e-6)


def test_images_of_any_size_are_taken_and_a_batch_is_its_images(exported: Path) -> None:
    session, images = open_session(exported.read_bytes()), portraits(3)
    values = run_session(session, images)
    one_by_one = [run_session(session, image[None]) for image in images]
    for name, value in values.items():
        assert np.allclose(value, np.concatenate([one[name] for one in one_by_one]), atol=1e-5), name
    for shape in ((1, 1, 1), (1, 1, 40), (2, 33, 32), (1, 500, 20)):
        assert all(
            np.isfinite(value).all() for value in run_session(session, np.zeros(shape, np.uint8)).values()
        )


def test_the_metadata_say_what_the_checkpoint_says(
    metadata: ExportMetadata, calibrated: Path, exported: Path
) -> None:
    checkpoint = checkpoints.load(calibrated)
    assert metadata.findings == NIH_14 and metadata.thresholds.values == checkpoint.thresholds.values
    assert metadata.calibration and metadata.calibration.slopes[NIH_14.index("Hernia")] is None
    assert checkpoint.ood and metadata.ood and metadata.ood.limit == checkpoint.ood.measured.limit
    assert metadata.split.hashes == checkpoint.metadata.split.hashes
    assert metadata.training.checkpoint_sha256 == checkpoint.sha256
    assert (metadata.licence.weights, metadata.opset, metadata.preprocess.size) == ("CC-BY-4.0", 18, 32)
    assert metadata.parity.num_images == 40 and metadata.parity.resize_levels in (0, 1)
    assert is_intact(exported.read_bytes(), metadata.sha256)


def test_the_file_names_no_patient_image_or_folder(exported: Path, calibrated: Path, nih_root: Path) -> None:
    data, checkpoint = exported.read_bytes(), checkpoints.load(calibrated)
    assert checkpoint.thresholds.images
    for secret in (
        *checkpoint.thresholds.images,
        str(nih_root),
        str(Path(__file__).parents[2]),
        "stack_trace",
    ):
        assert secret.encode() not in data
    assert not any(image.name.encode() in data for image in (nih_root / "images").iterdir())


def test_a_file_that_is_there_is_kept_unless_asked(exported: Path, calibrated: Path, capsys: Said) -> None:
    before = exported.read_bytes()
    assert call("export", calibrated, "--out", exported) == 2
    assert f"error: {exported}: is there already\nhint: --overwrite replaces it" in capsys.readouterr().err
    assert exported.read_bytes() == before


def test_the_program_of_the_page_prints_the_probabilities(
    exported: Path, tmp_path: Path, nih_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    page = Path(__file__).parents[2] / "docs" / "export.md"
    use, check = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert len([line for line in use.splitlines() if line]) == 10
    image = min((nih_root / "images").iterdir())
    shutil.copy(image, tmp_path / "chest.png")
    shutil.copy(exported, tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)
    exec(compile(use + check, page, "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    values = run_session(open_session(exported.read_bytes()), read_file(image)[None])
    expected = [f"{name:20} {p:.3f}" for name, p in zip(NIH_14, values[PROBABILITY][0], strict=True)]
    assert [line[:26].rstrip() for line in printed[:14]] == expected
    assert printed[-1] == "True"


@pytest.fixture
def made(exported: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command takes the model of the file rather than trace it again, which is most of its time."""
    model = onnx.load(exported)
    monkeypatch.setattr(export_targets, "trace", lambda graph: None)
    monkeypatch.setattr(export_targets, "to_onnx", lambda program, outputs: copy.deepcopy(model))
    return exported


@pytest.mark.parametrize("wrong", [2e-4, np.nan])
def test_a_file_that_differs_is_not_written(
    made: Path, wrong: float, calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def run(session: "InferenceSession", images: AnyArray) -> dict[str, AnyArray]:
        values: dict[str, AnyArray] = dict(run_session(session, images))
        values[PROBABILITY] = values[PROBABILITY] + wrong
        return values

    monkeypatch.setattr(export_targets, "run_session", run)
    assert call("export", calibrated, HALF_VALIDATES, "--out", tmp_path / "m.onnx") == 2
    error = capsys.readouterr().err
    assert "m.onnx: differs from PyTorch by more than 0.0001, so it was not written: probability by" in error
    assert list(tmp_path.iterdir()) == []


def test_int8_says_what_it_costs(made: Path, calibrated: Path, tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "int8.onnx"
    assert call("export", calibrated, HALF_VALIDATES, "--precision", "int8", "--out", path) == 0
    said = capsys.readouterr()
    assert re.search(
        r"int8: mean AUROC 0\.\d{4}, in float32 0\.\d{4} \([+-]0\.\d{4}\), over \d+ findings", said.out
    )
    assert re.search(r"ranges measured on \d+ training images of the run\.", said.out)
    model = onnx.load(path)
    found = from_json(model.metadata_props[0].value)
    assert found.cost and abs(found.cost.auroc - found.cost.auroc_fp32) < 0.2 and found.cost.num_images > 8
    kinds = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    # the head stays in float32, so that maps sum up to logits as before
    values = run_session(open_session(path.read_bytes()), portraits())
    assert np.allclose(values[CAM].mean(axis=(2, 3)) + np.array(found.bias), values[LOGIT], atol=1e-5)


def test_fp16_says_what_it_costs(
    calibrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    def make_half(checkpoint: checkpoints.Checkpoint, *_: object) -> Exported:
        graph = Graph(checkpoint, half=True).eval()
        run = partial(run_module, graph, graph.outputs)
        return Exported(graph, run, lambda metadata: metadata.to_json().encode(), "backbone in float16")

    monkeypatch.setattr(command, "make", make_half)
    path = tmp_path / "half.onnx"
    assert call("export", calibrated, HALF_VALIDATES, "--precision", "fp16", "--out", path) == 0
    assert "fp16: mean AUROC 0." in capsys.readouterr().out
    cost = from_json(path.read_text()).cost
    assert cost and 0 < cost.largest < 0.01 and abs(cost.auroc - cost.auroc_fp32) < 0.05


def test_a_smaller_precision_needs_the_images_of_the_run(
    calibrated: Path, tmp_path: Path, capsys: Said
) -> None:
    missing = (f"data.root={tmp_path / 'gone'}", "--out", tmp_path / "m.onnx")
    assert call("export", calibrated, "--precision", "int8", *missing) == 2
    error = capsys.readouterr().err
    assert (
        "error: --precision int8: its cost in AUROC cannot be measured:" in error
        and "no such folder" in error
    )
    assert "hint: cxr pack makes the store" in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--to", "torch", "--precision", "fp16"), "--precision fp16: is for --to onnx"),
        (("--out", "."), "--out .: is a folder"),
        (("--out", "nowhere/m.onnx"), "--out nowhere/m.onnx: there is no folder nowhere"),
        (("data.rot=x",), "data.rot"),
        (("eval.tta=flip",), "eval.tta=flip: cannot change in an exported file"),
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: tuple[str, ...], error: str, calibrated: Path, capsys: Said
) -> None:
    assert call("export", calibrated, *arguments) == 2
    assert error in capsys.readouterr().err
    assert not calibrated.with_name("model.onnx").exists()


def test_missing_packages_name_their_extra(
    calibrated: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.setattr(export_targets, "find_spec", lambda name: None)
    assert call("export", calibrated) == 2
    error = capsys.readouterr().err
    assert "error: --to onnx: the package onnxscript is not installed" in error
    assert error.endswith("hint: pip install 'cxr[export]'\n")


@pytest.mark.parametrize("tta", ["flip", "ten_crop"])
def test_tta_is_in_the_graph(tta: TTA) -> None:
    checkpoint, images = small_resnet(tta)
    graph = Graph(checkpoint).eval()
    differences = parity.compare(checkpoint, partial(run_module, graph, graph.outputs), images)
    assert parity.is_equal(differences) and max(differences.values()) < 1e-4
    values = run_module(graph, graph.outputs, images.squares.numpy())
    shifted = values[LOGIT] + checkpoint.classifier.logit_shift.numpy()
    assert np.abs(1 / (1 + np.exp(-shifted)) - values[PROBABILITY]).max() > 1e-4


def small_resnet(tta: TTA) -> tuple[checkpoints.Checkpoint, CheckImages]:
    config = make_config("resnet18", 40, 32)
    config = config.model_copy(update={"eval": config.eval.model_copy(update={"tta": tta})})
    images = generate_images(preprocess(config))
    with narrow_backbones():
        return replace(random_checkpoint("resnet18", images, config), ood=None), images


def test_a_program_for_torch_is_checked_and_read_back(
    calibrated: Path, traced: "torch.export.ExportedProgram", nih_root: Path, tmp_path: Path, capsys: Said
) -> None:
    path = tmp_path / "model.pt2"
    options = ("--to", "torch", "--out", path, "--images", nih_root / "images")
    with mock.patch.object(export_targets, "trace", lambda graph: traced):
        assert call("export", calibrated, *options) == 0
    said = capsys.readouterr().out
    assert "torch.export beside PyTorch in float32, 40 given images" in said and "model.pt2 (" in said
    extra = {KEY: ""}
    program = torch.export.load(path, extra_files=extra)
    assert "sha256" not in json.loads(extra[KEY])  # there is no place in the file to write it to
    found = from_json(extra[KEY])
    assert max(found.parity.differences.values()) < 1e-4 and found.findings == NIH_14
    values = run_module(program.module(), found.outputs, portraits(2))
    assert np.allclose(values[CAM].mean(axis=(2, 3)) + np.array(found.bias), values[LOGIT], atol=1e-5)
    data = path.read_bytes()
    assert not any(text in data for text in (b"stack_trace", str(Path(__file__).parents[2]).encode()))
