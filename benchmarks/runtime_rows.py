"""Images a second of `cxr predict`'s model step in PyTorch, onnxruntime and OpenVINO, float32 and smaller."""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.export_parity import SIZE, STORE_SIZE, make_config, random_checkpoint
from benchmarks.timing import Contender, Row, race
from cxr.data.dataset import Dataset
from cxr.data.loader import Rows
from cxr.deploy.export_images import CheckImages, RunImages
from cxr.deploy.export_metadata import describe, describe_parity
from cxr.deploy.export_program import onnx_bytes, to_onnx, trace
from cxr.deploy.graph import Graph
from cxr.deploy.onnx_format import Precision
from cxr.deploy.onnx_runtime import open_onnx
from cxr.deploy.open_runtime import PROGRAMS
from cxr.deploy.quantise import quantise
from cxr.deploy.runtime import BATCH_SIZE, Runtime
from cxr.deploy.torch_runtime import make_runtime
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file
from cxr.labels.table import LabelTable
from cxr.model.checkpoint import Checkpoint

_NUM_IMAGES = 64


class _Squares(RunImages):
    """Images that are no run's: all of them are training images."""

    def __init__(self, squares: Tensor) -> None:
        super().__init__(cast(Dataset, None))  # it is not read
        object.__setattr__(self, "squares", squares)

    def choose_rows(self, split: str, at_most: int = 0) -> Rows:
        """The first rows."""
        return np.arange(len(self.squares))[: at_most or None]

    def batches(self, rows: Rows) -> Iterator[Tensor]:
        """The squares."""
        yield from torch.split(self.squares[torch.from_numpy(rows)], BATCH_SIZE)

    squares: Tensor


def runtimes(table: LabelTable, backbone: str, work: Path, rounds: int) -> list[Row]:
    """The contenders take turns; each predicts batches of squares that are in memory."""
    paths = list(table.rows["path"])
    preprocess = Preprocess(STORE_SIZE)
    greys = [read_file(table.root / paths[number % len(paths)]) for number in range(_NUM_IMAGES)]
    squares = torch.from_numpy(np.stack([prepare(grey, preprocess) for grey in greys]))
    checkpoint = random_checkpoint(
        backbone, CheckImages("", squares), make_config(backbone, STORE_SIZE, SIZE)
    )
    models: dict[str, Runtime] = {
        "PyTorch, bfloat16": _with_precision(checkpoint, "bf16"),
        "PyTorch, float32": _with_precision(checkpoint, "fp32"),
    }
    files = _export(checkpoint, _Squares(squares), work)
    for program in PROGRAMS:
        if find_spec(program):
            models |= {
                f"{program}, {precision}": open_onnx(path, program) for precision, path in files.items()
            }
    pixels = squares.numpy()
    batches = [pixels[start : start + BATCH_SIZE] for start in range(0, len(pixels), BATCH_SIZE)]

    def work_of(model: Runtime) -> Contender:
        def predict() -> int:
            for batch in batches:
                model.predict(batch)
            return len(pixels)

        return predict

    contenders = {name: work_of(model) for name, model in models.items()}
    return race(f"runtimes, {backbone} at {SIZE} px, batch {BATCH_SIZE}", contenders, rounds)


def _with_precision(checkpoint: Checkpoint, precision: str) -> Runtime:
    metadata = checkpoint.metadata
    train = metadata.config.train.model_copy(update={"precision": precision})
    config = metadata.config.model_copy(update={"train": train})
    return make_runtime(
        "random", replace(checkpoint, metadata=metadata.model_copy(update={"config": config}))
    )


def _export(checkpoint: Checkpoint, images: RunImages, work: Path) -> dict[str, Path]:
    """The files by precision."""
    graph = Graph(checkpoint)
    whole = to_onnx(trace(graph), graph.outputs)
    parity = describe_parity(CheckImages("none", torch.zeros(0, STORE_SIZE, STORE_SIZE)), {}, None)
    precisions: dict[str, Precision] = {"float32": "fp32", "int8": "int8"}
    files = {}  # AUROC and differences are measured elsewhere, on images with labels
    for name in precisions:
        # in this order, as quantising moves the weights out of the model that it is given
        model = whole if name == "float32" else quantise(whole, images)[0]
        metadata = describe(Path("random"), checkpoint, graph, precisions[name], "", parity, None)
        files[name] = work / f"{name}.onnx"
        files[name].write_bytes(onnx_bytes(model, metadata))
    return files
