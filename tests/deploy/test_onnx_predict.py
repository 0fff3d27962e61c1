"""cxr predict model.onnx beside cxr predict RUN, without torch, and with files that are none of ours."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cxr
from cxr.deploy.onnx_format import CAM, FORMAT_VERSION, KEY
from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.protobuf import read_fields
from cxr.errors import CxrError
from tests.helpers.commands import call
from tests.helpers.exports import LACKING, Exported

if TYPE_CHECKING:
    from onnx import ModelProto

onnx = pytest.importorskip("onnx", reason="cxr[export] is not installed")

Said = pytest.CaptureFixture[str]
NEAR = 1e-4


@pytest.fixture
def images(nih_root: Path) -> list[Path]:
    return sorted((nih_root / "images").iterdir())[:3]


def predict_json(capsys: Said, *arguments: str | Path) -> list[dict[str, Any]]:
    capsys.readouterr()
    assert call("predict", *arguments, "--format", "json") == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def flat(row: dict[str, Any]) -> list[float]:
    """Every number of a row of JSON."""
    return [*row["probabilities"].values(), *row["thresholds"].values(), row["out_of_distribution"]["score"],
            row["out_of_distribution"]["limit"]]  # fmt: skip


@pytest.mark.parametrize("options", [(), ("--calibrated",)])
def test_every_number_is_that_of_the_run(
    exported: Exported, images: list[Path], capsys: Said, options: tuple[str, ...]
) -> None:
    ours = predict_json(capsys, exported.run, *images, *options)
    theirs = predict_json(capsys, exported.onnx, *images, *options)
    assert len(ours) == len(theirs) == len(images)
    for row, other in zip(ours, theirs, strict=True):
        assert np.abs(np.subtract(flat(row), flat(other))).max() < NEAR
        for name in ("image", "above", "notes", "few_positives", "overlays", "sheet"):
            assert row[name] == other[name]
        assert row.get("not_calibrated") == other.get("not_calibrated") == ([LACKING] if options else None)
        assert row["out_of_distribution"]["warning"] == other["out_of_distribution"]["warning"]


@pytest.mark.parametrize("options", [(), ("--wide",), ("--calibrated",)])
def test_the_text_is_that_of_the_run(
    exported: Exported, images: list[Path], capsys: Said, options: tuple[str, ...]
) -> None:
    said = []
    for model in exported:
        capsys.readouterr()
        assert call("predict", model, *images, *options) == 0
        out, err = capsys.readouterr()
        said.append((out.split(), err))
    (words, err), (other_words, other_err) = said
    assert err == other_err and len(words) == len(other_words) > 20
    for word, other in zip(words, other_words, strict=True):
        assert word == other or abs(float(word.rstrip("*;,")) - float(other.rstrip("*;,"))) < 0.0011


def test_maps_and_overlays_are_those_of_the_run(
    exported: Exported, images: list[Path], tmp_path: Path, capsys: Said
) -> None:
    for model, name in zip(exported, ("run", "onnx"), strict=True):
        options = "--heatmaps", tmp_path / name, "--findings", "Mass,Hernia", "--maps"
        assert call("predict", model, images[0], *options) == 0
    names = [sorted(path.name for path in (tmp_path / name).iterdir()) for name in ("run", "onnx")]
    assert names[0] == names[1] and len(names[0]) == 5
    for name in names[0]:
        ours, theirs = tmp_path / "run" / name, tmp_path / "onnx" / name
        if name.endswith(".npy"):
            np.testing.assert_allclose(np.load(ours), np.load(theirs), atol=1e-3)
            continue
        pixels, others = (np.asarray(cv2.imread(str(path)), np.float32) for path in (ours, theirs))
        tiles = slice(0, pixels.shape[0] // 2)  # below stands the name of the model, which differs
        assert np.abs(pixels[tiles] - others[tiles]).mean() < 0.1


def test_openvino_has_the_same_numbers(exported: Exported, images: list[Path], capsys: Said) -> None:
    pytest.importorskip("openvino", reason="cxr[openvino] is not installed")
    ours = predict_json(capsys, exported.onnx, *images)
    theirs = predict_json(capsys, exported.onnx, *images, "--runtime", "openvino")
    for row, other in zip(ours, theirs, strict=True):
        assert np.abs(np.subtract(flat(row), flat(other))).max() < NEAR


def test_the_rule_for_studies_is_that_of_the_run(exported: Exported) -> None:
    of_run, of_file = (open_runtime(str(path), "cpu").facts for path in (exported.run, exported.onnx))
    assert (of_file.unit, of_file.combine, of_file.views) == (of_run.unit, of_run.combine, of_run.views)
    assert of_file.views


def test_the_python_interface_takes_the_file(exported: Exported, images: list[Path]) -> None:
    model, other = (cxr.load(path, device="cpu") for path in exported)
    table, its = model.predict(images), other.predict(images)
    np.testing.assert_allclose(table[list(model.findings)], its[list(other.findings)], atol=NEAR)
    np.testing.assert_allclose(model.embed(images), other.embed(images), atol=1e-3)
    assert other.embed([]).shape == (0, 512) and repr(other).endswith("resnet18, 14 findings, 32 pixels>")
    heat, others = model.heatmaps(images[0], "Mass"), other.heatmaps(images[0], "Mass")
    np.testing.assert_allclose(heat["Mass"], others["Mass"], atol=1e-3)
    assert other.explain(images[0]).table["finding"].tolist() == list(model.findings)
    with pytest.raises(CxrError, match="is an exported file, which has cam"):
        other.explain(images[0], method="gradcam")
    with pytest.raises(CxrError, match=r"shortcuts: .*exported\.onnx is an exported file"):
        other.shortcuts()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--device", "cuda"), "--device cuda: {} is computed on the CPU"),
        (("--head-findings", "nih14"), "--head-findings: {} names its findings already"),
    ],
)
def test_options_of_other_models_are_refused(
    exported: Exported, images: list[Path], capsys: Said, options: tuple[str, ...], problem: str
) -> None:
    assert call("predict", exported.onnx, images[0], *options) == 2
    assert problem.format(exported.onnx) in capsys.readouterr().err


def test_a_runtime_is_for_exported_files(run: Path, images: list[Path], capsys: Said) -> None:
    assert call("predict", run, images[0], "--runtime", "openvino") == 2
    assert "--runtime openvino: is for a file of cxr export" in capsys.readouterr().err


def without_metadata(model: "ModelProto") -> None:
    del model.metadata_props[:]


def of_a_later_format(model: "ModelProto") -> None:
    entry = next(entry for entry in model.metadata_props if entry.key == KEY)
    entry.value = entry.value.replace(f'"format": {FORMAT_VERSION}', f'"format": {FORMAT_VERSION + 1}')


def with_a_foreign_operator(model: "ModelProto") -> None:
    inside = onnx.helper.make_graph([onnx.helper.make_node("Call", [], [], domain="evil")], "inside", [], [])
    model.graph.node.append(onnx.helper.make_node("If", [], [], then_branch=inside))


def with_weights_elsewhere(model: "ModelProto") -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    tensor.ClearField("raw_data")


def with_another_weight(model: "ModelProto") -> None:
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    largest.raw_data = bytes(4) + largest.raw_data[4:]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (without_metadata, "was not written by cxr export"),
        (of_a_later_format, "it has format 2, and this version of cxr reads format 1"),
        (with_a_foreign_operator, "has operators that are not of ONNX: evil:Call"),
        (with_weights_elsewhere, "keeps its weights in other files"),
        (with_another_weight, "is damaged or was changed: its checksum is another"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(
    exported: Exported, tmp_path: Path, capsys: Said, change: "Callable[[ModelProto], None]", problem: str
) -> None:
    model, path = onnx.load_model(exported.onnx), tmp_path / "m.onnx"
    change(model)
    path.write_bytes(model.SerializeToString())
    check_refused(path, problem, capsys)


@pytest.mark.parametrize(
    ("share", "problem"),
    [(0.0, "is empty (0 bytes)"), (0.3, "is no whole ONNX file"), (0.99, "is no whole ONNX file")],
)
def test_a_file_that_was_cut_off_is_refused(
    exported: Exported, tmp_path: Path, capsys: Said, share: float, problem: str
) -> None:
    data, path = exported.onnx.read_bytes(), tmp_path / "m.onnx"
    path.write_bytes(data[: round(share * len(data))])
    check_refused(path, problem, capsys)


def test_other_files_under_the_name_are_refused(tmp_path: Path, capsys: Said) -> None:
    check_refused(tmp_path / "absent.onnx", "no such file", capsys)
    (tmp_path / "text.onnx").write_text("not a model")
    check_refused(tmp_path / "text.onnx", "is no whole ONNX file", capsys)


def check_refused(path: Path, problem: str, capsys: Said) -> None:
    capsys.readouterr()
    assert call("predict", path, "image.png") == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"error: {path}: ") and problem in err and "\nhint: " in err and not out


@given(st.binary(max_size=200))
def test_reading_any_bytes_ends_with_fields_or_with_an_error(data: bytes) -> None:
    try:
        fields = list(read_fields(memoryview(data)))
    except ValueError:
        return
    assert all(number > 0 for number, _ in fields)


def test_outputs_that_do_not_fit_the_metadata_are_an_error(exported: Exported) -> None:
    runtime = open_runtime(str(exported.onnx))
    squares = np.zeros((2, runtime.facts.preprocess.size, runtime.facts.preprocess.size), np.uint8)
    answers = runtime.predict(squares)
    assert answers.read_maps(1).shape[0] == len(runtime.facts.findings)
    compute = runtime.compute  # type: ignore[attr-defined]  # of an OnnxRuntime
    object.__setattr__(runtime, "compute", lambda squares: {**compute(squares), CAM: np.zeros((1, 1, 1, 1))})
    with pytest.raises(CxrError, match="its numbers do not fit its findings"):
        runtime.predict(squares)


WITHOUT = """
import sys

absent = ("torch", "torchvision", "torchxrayvision", "pandas", "scipy", "sklearn", "matplotlib", "yaml", "safetensors",
          "jinja2", "fontTools", "threadpoolctl", "pydicom", "onnx")
for name in absent:
    sys.modules[name] = None  # importing it fails
from cxr.cli import main
main(sys.argv[1:])
"""


def call_without(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """cxr in a Python that has none of the packages that `cxr predict model.onnx` does without."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_no_torch_no_pandas_and_no_scipy_are_needed(
    exported: Exported, images: list[Path], tmp_path: Path, capsys: Said
) -> None:
    with_all = predict_json(capsys, exported.onnx, images[0], "--calibrated")
    options = "--calibrated", "--format", "json", "--heatmaps", tmp_path / "overlays"
    done = call_without("predict", exported.onnx, images[0], *options)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(flat(json.loads(done.stdout)), flat(with_all[0]), rtol=1e-12)
    assert len(list((tmp_path / "overlays").iterdir())) >= 2
    assert call_without("--help").returncode == 0


def test_a_run_without_torch_is_an_error_with_a_hint(exported: Exported, images: list[Path]) -> None:
    done = call_without("predict", exported.run, images[0])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {exported.run}: needs PyTorch, which is not installed\n"
        "hint: pip install cxr, or give a model.onnx of cxr export\n"
    )
    done = call_without("check", "demo")
    assert done.returncode == 2 and done.stderr.startswith(
        "error: cxr check: the package pandas is not installed"
    )
