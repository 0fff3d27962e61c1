"""A checkpoint with everything that may be in one, and the ONNX file that is exported from it."""

import io
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from cxr.config.load import override
from cxr.deploy.export_images import CheckImages
from cxr.deploy.export_metadata import describe, describe_parity
from cxr.deploy.export_program import onnx_bytes
from cxr.deploy.graph import Graph
from cxr.deploy.onnx_format import IMAGE, OPSET
from cxr.evaluation.recalibration import Recalibration, to_json
from cxr.model import checkpoint as checkpoints

if TYPE_CHECKING:
    from onnx import ModelProto

LACKING = "Hernia"


class Exported(NamedTuple):
    """The file of a model in PyTorch, and in ONNX."""

    run: Path
    onnx: Path


@pytest.fixture(scope="session")
def exported(wary: Path) -> Exported:
    """A model with an OOD detector, and a calibration for every finding but Hernia."""
    pytest.importorskip("onnx", reason="cxr[export] is not installed")
    pytest.importorskip("onnxruntime", reason="cxr[onnx] is not installed")
    checkpoint = checkpoints.load(wary)
    findings = checkpoint.metadata.findings
    is_lacking = [finding == LACKING for finding in findings]
    lines = Recalibration(
        findings,
        tuple(np.nan if lacks else -0.5 for lacks in is_lacking),
        tuple(np.nan if lacks else 0.6 for lacks in is_lacking),
        tuple("3 positive images, fewer than 10" if lacks else "" for lacks in is_lacking),
        "validation rows (500 images)",
        # so few that the bounds of calibrated probabilities matter
        num_images=(5,) * len(findings),
    )
    config = override(checkpoint.metadata.config, ("data.views=[PA,AP]", "eval.combine=mean"))
    update = {"temperatures": to_json(lines), "config": config}
    metadata = checkpoint.metadata.model_copy(update=update)
    run = wary.with_name("exported.safetensors")
    checkpoints.save(run, replace(checkpoint, metadata=metadata))

    checkpoint = checkpoints.load(run)
    graph = Graph(checkpoint).eval()
    none = CheckImages("none, as a test compares them", torch.zeros(0, 8, 8))
    facts = describe(run, checkpoint, graph, "fp32", "", describe_parity(none, {}, None), None)
    path = wary.with_name("exported.onnx")
    path.write_bytes(onnx_bytes(_to_onnx(graph, checkpoint.metadata.preprocess.size), facts))
    return Exported(run, path)


def _to_onnx(graph: Graph, size: int) -> "ModelProto":
    """The graph for squares, by PyTorch's former exporter: 1 second in place of the 17 of `cxr export`."""
    import onnx

    def subtract(values: Tensor, dim: int) -> Tensor:  # the former exporter does not know `diff`
        num = values.shape[dim] - 1
        return values.narrow(dim, 1, num) - values.narrow(dim, 0, num)

    file = io.BytesIO()
    with mock.patch.object(Tensor, "diff", subtract), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (torch.zeros(2, size, size, dtype=torch.uint8),),
            file,  # type: ignore[arg-type]  # the former exporter writes into memory too
            input_names=[IMAGE],
            output_names=list(graph.outputs),
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes={IMAGE: {0: "batch"}},
        )
    return onnx.load_model_from_string(file.getvalue())
