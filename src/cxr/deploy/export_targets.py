"""A checkpoint made into a file that is not written yet, and the function that computes with it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Literal

import torch

from cxr.deploy.export_images import RunImages
from cxr.deploy.export_program import (
    onnx_bytes,
    open_session,
    run_module,
    run_session,
    to_onnx,
    torch_bytes,
    trace,
)
from cxr.deploy.graph import Graph
from cxr.deploy.onnx_format import ExportMetadata, Precision
from cxr.deploy.parity import Run
from cxr.deploy.quantise import quantise
from cxr.errors import CxrError
from cxr.model.checkpoint import Checkpoint

Target = Literal["onnx", "torch"]
FILES: dict[Target, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """A file before its metadata are known.

    Attributes:
        graph: What it computes.
        run: Every output of images, computed by what will be written.
        to_bytes: The file with its metadata.
        method: How it was made smaller; empty in float32.
    """

    graph: Graph
    run: Run
    to_bytes: Callable[[ExportMetadata], bytes]
    method: str = ""


def check_packages(target: Target) -> None:
    """Refuse a target whose packages are not installed.

    Raises:
        CxrError: With each of them.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None] if target == "onnx" else []
    if missing:
        problems = [f"--to onnx: the package {name} is not installed" for name in missing]
        raise CxrError(problems, "pip install 'cxr[export]'")


def make(checkpoint: Checkpoint, target: Target, precision: Precision, images: RunImages | None) -> Exported:
    """The checkpoint as a file; int8 measures ranges on training images of the run."""
    graph = Graph(checkpoint, half=precision == "fp16")
    program = trace(graph)
    if target == "torch":
        # read back from its bytes, so that what is compared is what will be written
        loaded = torch.export.load(io.BytesIO(torch_bytes(program)))
        run = partial(run_module, loaded.module(), graph.outputs)
        return Exported(
            graph, run, lambda metadata: torch_bytes(program, metadata.to_json(has_checksum=False))
        )
    model, method = to_onnx(program, graph.outputs), ""
    if precision == "fp16":
        method = "backbone in float16, the rest in float32"
    if precision == "int8":
        assert images is not None
        model, method = quantise(model, images)
    session = open_session(model.SerializeToString())
    return Exported(graph, partial(run_session, session), partial(onnx_bytes, model), method)
