"""An ONNX model with convolutions in 8-bit integers, and what a smaller precision costs."""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cxr.arrays import AnyArray, Float64
from cxr.deploy.export_images import RunImages
from cxr.deploy.onnx_format import IMAGE, PROBABILITY, Cost
from cxr.deploy.parity import Run, predict_float32
from cxr.errors import CxrError
from cxr.evaluation.statistics.metrics import auroc, macro_mean
from cxr.model.checkpoint import Checkpoint

if TYPE_CHECKING:
    from onnx import ModelProto

MAX_COST = 0.01
"""Mean AUROC that may be lost before a warning."""
NUM_RANGED = 128
"""Training images that the ranges of activations are measured on."""


def quantise(model: "ModelProto", images: RunImages) -> tuple["ModelProto", str]:
    """(the model with 8-bit convolutions, how it was made).

    Only convolutions are changed, and these are all in the backbone: the resize, the pooled features, head,
    maps and OOD score stay in float32, so mean(cam) + bias = logit holds as before. Weights have 7 bits:
    processors without VNNI add two products of 8 bits in 16, which overflow.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    rows = images.choose_rows("train", NUM_RANGED)
    if not len(rows):
        raise CxrError("--precision int8: the run has no training images", "leave --precision out")

    class Reader(CalibrationDataReader):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            self.batches: Iterator[AnyArray] = (batch.numpy() for batch in images.batches(rows))

        def get_next(self) -> dict[str, AnyArray] | None:
            batch = next(self.batches, None)
            return None if batch is None else {IMAGE: batch}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model, path, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            per_channel=True, reduce_range=True, activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )  # fmt: skip
        quantised = onnx.load(path)
    method = f"convolutions in 8-bit integers, ranges measured on {len(rows)} training images of the run"
    return quantised, method


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the advice that onnxruntime logs about models that it did not optimise."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def measure_cost(checkpoint: Checkpoint, run: Run, images: RunImages, method: str) -> Cost:
    """What a file costs beside float32 PyTorch, over all validation images of the run.

    Raises:
        CxrError: A probability is no finite number, or no finding has both classes.
    """
    rows = images.choose_rows("val")
    expected, found = [], []
    for squares in images.batches(rows):
        expected.append(predict_float32(checkpoint, squares)[PROBABILITY])
        found.append(run(squares.numpy())[PROBABILITY])
    before, after = np.concatenate(expected), np.concatenate(found).astype(np.float64)
    if not np.isfinite(after).all():
        problem = "--precision: a probability is no finite number; an activation is too large for it"
        raise CxrError(problem, "leave --precision out")
    y = images.labels(rows)
    aurocs = _aurocs(y, before), _aurocs(y, after)
    if np.isnan(macro_mean(aurocs[0])):
        problem = "--precision: no finding is both positive and negative among the validation images"
        raise CxrError(problem, "leave --precision out, or give a run with more validation images")
    thresholds = np.array(checkpoint.thresholds.values)
    changed = (before >= thresholds) != (after >= thresholds)
    return Cost(
        auroc_fp32=macro_mean(aurocs[0]),
        auroc=macro_mean(aurocs[1]),
        num_findings=sum(not np.isnan(value) for value in aurocs[0]),
        num_images=len(rows),
        num_calls=changed.size,
        num_changed=int(changed.sum()),
        largest=float(np.abs(after - before).max()),
        method=method,
    )


def _aurocs(y: Float64, p: Float64) -> list[float]:
    return [auroc(y[:, c], p[:, c]) for c in range(y.shape[1])]
