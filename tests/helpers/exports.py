"""A checkpoint with everything that may be in one, and the ONNX file that is exported from it."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from cxr.deploy.export_images import CheckImages
from cxr.deploy.export_metadata import describe, describe_parity
from cxr.deploy.export_targets import make
from cxr.evaluation.recalibration import Recalibration, to_json
from cxr.model import checkpoint as checkpoints

LACKING = "Hernia"


class Exported(NamedTuple):
    """The file of a model in PyTorch, and in ONNX."""

    run: Path
    onnx: Path


@pytest.fixture(scope="session")
def exported(wary: Path) -> Exported:
    """A model with an OOD detector, and a calibration for every finding but Hernia."""
    pytest.importorskip("onnxscript", reason="cxr[export] is not installed")
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
    )
    metadata = checkpoint.metadata.model_copy(update={"temperatures": to_json(lines)})
    run = wary.with_name("exported.safetensors")
    checkpoints.save(run, replace(checkpoint, metadata=metadata))

    checkpoint = checkpoints.load(run)
    made = make(checkpoint, "onnx", "fp32", None)
    none = CheckImages("none, as a test compares them", torch.zeros(0, 8, 8))
    facts = describe(run, checkpoint, made.graph, "fp32", "", describe_parity(none, {}, None), None)
    path = wary.with_name("exported.onnx")
    path.write_bytes(made.to_bytes(facts))
    return Exported(run, path)
