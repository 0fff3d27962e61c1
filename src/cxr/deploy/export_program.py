"""A Graph as a file: torch.export's program, and ONNX made of it."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from cxr.arrays import AnyArray, Float32
from cxr.deploy.graph import Graph
from cxr.deploy.onnx_format import IMAGE, KEY, OPSET, ExportMetadata, seal

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

_EXAMPLE = (2, 70, 73)
"""Shape of the images that the graph is traced with: no two sizes equal, none 1, which torch would keep."""
_ERRORS_ONLY = 3  # of onnxruntime's levels of messages
# names in the file, where the sizes of the input are free
_SHAPES = {IMAGE: {0: Dim("batch", min=1), 1: Dim("height", min=1), 2: Dim("width", min=1)}}


def trace(graph: Graph) -> ExportedProgram:
    """The graph as torch.export's program, without the places in source files that torch notes."""
    example = torch.zeros(_EXAMPLE, dtype=torch.uint8)
    with torch.no_grad():
        program = torch.export.export(graph.eval(), (example,), dynamic_shapes=_SHAPES, strict=False)
    for part in program.graph_module.modules():  # an autocast has a graph inside the graph
        for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


def to_onnx(program: ExportedProgram, outputs: Sequence[str]) -> "ModelProto":
    """The program as an ONNX model without metadata; torch's exporter notes paths of this machine in it."""
    made = torch.onnx.export(
        program, input_names=[IMAGE], output_names=list(outputs), opset_version=OPSET,
        dynamic_shapes=_SHAPES, dynamo=True, verbose=False,
    )  # fmt: skip
    assert made is not None
    model = made.model_proto
    strip(model)
    return model


def strip(model: "ModelProto") -> None:
    """Remove all that is said about the making of a model and changes no result."""
    graph = model.graph
    parts = (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info)
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]


def onnx_bytes(model: "ModelProto", metadata: ExportMetadata) -> bytes:
    """The file, with its metadata and its checksum."""
    import onnx

    strip(model)
    onnx.helper.set_model_props(model, {KEY: metadata.to_json()})
    onnx.checker.check_model(model)
    return seal(model.SerializeToString(deterministic=True))


def torch_bytes(program: ExportedProgram, metadata: str = "") -> bytes:
    """The file of torch.export.save, with the metadata as its extra file KEY."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={KEY: metadata})
    return file.getvalue()


def open_session(data: bytes, threads: int = 0) -> "InferenceSession":
    """A session of onnxruntime on the CPU; 0 threads is one for each core."""
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.intra_op_num_threads = threads
    return InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run_session(session: "InferenceSession", images: AnyArray) -> dict[str, Float32]:
    """Every output of images uint8 [N, H, W]."""
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {IMAGE: np.ascontiguousarray(images)})
    return dict(zip(names, (np.asarray(value, np.float32) for value in values), strict=True))


def run_module(module: nn.Module, outputs: Sequence[str], images: AnyArray) -> dict[str, Float32]:
    """Every output of images uint8 [N, H, W], by the module of a program or by a Graph."""
    with torch.inference_mode():
        values = module(torch.from_numpy(images))
    return dict(zip(outputs, (value.numpy() for value in values), strict=True))
