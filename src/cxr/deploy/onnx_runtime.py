"""A model.onnx of `cxr export` at work in onnxruntime or OpenVINO, on the CPU (no torch)."""

import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr.arrays import AnyArray, Float32, Float64
from cxr.console import say
from cxr.deploy.onnx_file import read_onnx
from cxr.deploy.onnx_format import CAM, EMBEDDING, IMAGE, LOGIT, OOD_SCORE, PROBABILITY, ExportMetadata
from cxr.deploy.runtime import Facts, name_model
from cxr.errors import CxrError
from cxr.evaluation.recalibration import Recalibration, no_recalibration
from cxr.evaluation.statistics.logistic import plain_sigmoid
from cxr.evaluation.thresholds import Thresholds
from cxr.images.grey import Grey
from cxr.model.ood import MeasuredLimit

Compute = Callable[[Grey], Mapping[str, AnyArray]]
"""Outputs by name of squares uint8 [B, S, S]."""

_UPDATE = "update it, or export the run again with this version of cxr"


@dataclass(frozen=True)
class OnnxAnswers:
    """As `Answers`, all computed: cams [B, C, h, w], embeddings [B, D]."""

    probabilities: Float64
    scores: Float64 | None
    cams: Float32
    embeddings: Float32

    def read_maps(self, number: int) -> Float32:  # noqa: D102 - as of Answers
        return np.asarray(self.cams[number])

    def read_embedding(self, number: int) -> Float32:  # noqa: D102 - as of Answers
        return np.asarray(self.embeddings[number])


@dataclass(frozen=True)
class OnnxRuntime:
    """As `Runtime`."""

    facts: Facts
    metadata: ExportMetadata
    compute: Compute

    def predict(self, squares: Grey) -> OnnxAnswers:
        """As of Runtime.

        Raises:
            CxrError: The file's program fails, or gives other shapes than its metadata say.
        """
        try:
            outputs = self.compute(squares)
        except Exception as error:  # both programs have many kinds, of no class of their own
            raise CxrError(f"{self.facts.name}: cannot be computed: {_first_line(error)}", _UPDATE) from None
        probabilities = self._choose_probabilities(outputs)
        scores = np.asarray(outputs[OOD_SCORE], np.float64) if OOD_SCORE in outputs else None
        answers = OnnxAnswers(
            probabilities,
            scores,
            np.asarray(outputs[CAM], np.float32),
            np.asarray(outputs[EMBEDDING], np.float32),
        )
        num, num_findings = len(squares), len(self.facts.findings)
        of_scores = () if scores is None else scores.shape
        shapes = probabilities.shape, answers.cams.shape[:2], answers.embeddings.shape, of_scores
        expected = ((num, num_findings),) * 2 + (
            (num, self.facts.num_features),
            (num,) if scores is not None else (),
        )
        if shapes != expected or not np.isfinite(probabilities).all():
            raise CxrError(f"{self.facts.name}: its numbers do not fit its findings", "export the run again")
        return answers

    def _choose_probabilities(self, outputs: Mapping[str, AnyArray]) -> Float64:
        """[B, C] in float64 of the logits where they say all: in float32 high probabilities tie at 1."""
        if self.metadata.tta != "none":
            return np.asarray(outputs[PROBABILITY], np.float64)
        shift = np.array(self.metadata.logit_shift, np.float32)
        return np.asarray(plain_sigmoid(np.asarray(outputs[LOGIT] + shift, np.float64)))


def open_onnx(path: Path, program: str = "onnxruntime") -> OnnxRuntime:
    """The model of a file, ready to predict; what must be known about it is printed to stderr.

    Args:
        path: Of `cxr export RUN --to onnx`.
        program: onnxruntime or openvino.

    Raises:
        CxrError: The program is not installed, or as `read_onnx`.
    """
    data, metadata = read_onnx(path)
    start = _start_openvino if program == "openvino" else _start_onnxruntime
    try:
        compute, shapes = start(data)
    except ImportError as error:
        hint = f"pip install {program}, or the extra: pip install 'cxr[{_EXTRAS[program]}]'"
        raise CxrError(
            f"{path}: needs {program}, which is not installed ({_first_line(error)})", hint
        ) from None
    except Exception as error:  # as in `predict`
        raise CxrError(f"{path}: {program} cannot load it: {_first_line(error)}", _UPDATE) from None
    wrong = [name for name in metadata.outputs if name not in shapes]
    width = shapes.get(EMBEDDING, ())[-1:]
    if wrong or not width or not isinstance(width[0], int):
        problem = f"has no output {', '.join(wrong) or 'of known width'}"
        raise CxrError(f"{path}: {problem}", "export the run again")
    for text in _describe(path, metadata):
        say(text)
    return OnnxRuntime(make_facts(path, metadata, width[0], program), metadata, compute)


_EXTRAS = {"onnxruntime": "onnx", "openvino": "openvino"}

Shapes = Mapping[str, tuple[object, ...]]
"""Of the outputs by name; a size that is not fixed is no int."""


def _start_onnxruntime(data: bytes) -> tuple[Compute, Shapes]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, and a warning means nothing to the user
    options.intra_op_num_threads = _num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def compute(squares: Grey) -> Mapping[str, AnyArray]:
        return dict(zip(names, session.run(names, {IMAGE: squares}), strict=True))

    return compute, {output.name: tuple(output.shape) for output in session.get_outputs()}


def _start_openvino(data: bytes) -> tuple[Compute, Shapes]:
    import openvino

    core = openvino.Core()
    # f32: where the CPU has bfloat16, OpenVINO would take that
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": _num_threads()}
    model = core.compile_model(core.read_model(io.BytesIO(data)), "CPU", settings)

    def compute(squares: Grey) -> Mapping[str, AnyArray]:
        result = model({IMAGE: squares})
        return {name: result[output] for output in model.outputs for name in output.names}

    # a tensor may have further names, those of the layer that made it
    sizes = {name: output.partial_shape for output in model.outputs for name in output.names}
    shapes = {name: tuple(size.get_length() if size.is_static else None for size in shape)
              for name, shape in sizes.items()}  # fmt: skip
    return compute, shapes


def _num_threads() -> int:
    """As many as PyTorch would take: OMP_NUM_THREADS, or one a core; 0 lets the program choose."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdecimal() else 0


def make_facts(path: Path, metadata: ExportMetadata, num_features: int, program: str) -> Facts:
    """What the metadata of a file say of its model."""
    points, fitted, limit = metadata.thresholds, metadata.calibration, metadata.ood
    thresholds = Thresholds(
        metadata.findings,
        points.values,
        points.rule,
        points.chosen_on,
        points.fallback,
        num_positive=points.num_positive,
    )
    recalibration = no_recalibration(metadata.findings)
    if fitted is not None:
        intercepts, slopes = (
            tuple(np.nan if value is None else value for value in values)
            for values in (fitted.intercepts, fitted.slopes)
        )
        recalibration = Recalibration(
            metadata.findings,
            intercepts,
            slopes,
            fitted.reasons,
            fitted.fitted_on,
            num_images=fitted.num_images,
        )
    measured = None
    if limit is not None:
        measured = MeasuredLimit(
            limit=limit.limit,
            alarms=limit.alarms,
            num_images=limit.num_images,
            num_patients=limit.num_patients,
        )
    return Facts(
        name=name_model(path, metadata.sha256),
        findings=metadata.findings,
        thresholds=thresholds,
        recalibration=recalibration,
        preprocess=metadata.preprocess,
        measured=measured,
        backbone=metadata.backbone,
        size=metadata.image_size,
        num_features=num_features,
        sha256=metadata.sha256,
        version=metadata.training.versions.get("cxr", ""),
        program=program,
        unit=metadata.unit,
        combine=metadata.combine,
        views=metadata.views,
        # a file of lower precision has other metrics than its checkpoint
        checkpoint=metadata.training.checkpoint_sha256 if metadata.precision == "fp32" else "",
        logit_shift=metadata.logit_shift,
    )


def _describe(path: Path, metadata: ExportMetadata) -> list[str]:
    """What a user must know of the file."""
    texts = []
    if not metadata.training.cxr:
        texts.append(f"{path}: thresholds of 0.5, chosen on no images; what it was trained on is unknown")
    cost = metadata.cost
    if cost is not None:
        change = f"mean AUROC {cost.auroc_fp32:.4f} in float32, {cost.auroc:.4f} in this file"
        texts.append(f"{path}: is {metadata.precision}: {change}, on {cost.num_images:,} validation images")
    return texts


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
