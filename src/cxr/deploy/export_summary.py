"""What `cxr export` prints of a file."""

from cxr.console import count
from cxr.deploy.onnx_format import (
    CALIBRATED,
    CAM,
    EMBEDDING,
    LOGIT,
    OOD_SCORE,
    PROBABILITY,
    ExportMetadata,
)
from cxr.deploy.parity import TOLERANCE
from cxr.report.document import Table, Text

_SHAPES = {
    PROBABILITY: "[N, C]", CALIBRATED: "[N, C]", LOGIT: "[N, C]", CAM: "[N, C, h, w]", EMBEDDING: "[N, D]",
    OOD_SCORE: "[N]",
}  # fmt: skip
_DIGITS = 4


def summarise(metadata: ExportMetadata, program: str) -> list[Text | Table]:
    """Outputs and their largest differences; what the resize, the precision and the caller do.

    Args:
        metadata: Of the file.
        program: What computed with the file.
    """
    parity = metadata.parity
    rows = tuple((name, _SHAPES[name], f"{parity.differences[name]:.1e}") for name in metadata.outputs)
    title = f"{program} beside PyTorch in float32, {parity.images}"
    parts: list[Text | Table] = [
        Text(title, "strong"),
        Table("", ("Output", "Shape", "Largest difference"), rows, "llr"),
    ]
    parts += [Text(line) for line in (_resize(metadata), _cost(metadata)) if line]
    size = metadata.preprocess.size
    parts.append(
        Text(
            f"Input: uint8 [N, H, W] grey, any size; padding, cropping, resize and normalisation are inside. "
            f"Squares of {size} pixels pass the resize unchanged."
        )
    )
    parts += [Text(f"Before it, outside the file: {step}.") for step in metadata.before_input]
    return parts


def _resize(metadata: ExportMetadata) -> str:
    parity = metadata.parity
    if parity.resize_levels is None or parity.resize_probability is None:
        return (
            "The resize inside was not compared: the store holds squares alone. --images FOLDER compares it."
        )
    return (
        f"The resize inside differs from cxr's by at most {count(parity.resize_levels, 'grey level')}, "
        f"probabilities thereby by at most {parity.resize_probability:.1e}."
    )


def _cost(metadata: ExportMetadata) -> str:
    cost = metadata.cost
    if cost is None:
        return ""
    change = round(cost.auroc - cost.auroc_fp32, _DIGITS) + 0.0  # so that -0.00001 has no sign
    before, after = (f"{value:.{_DIGITS}f}" for value in (cost.auroc_fp32, cost.auroc))
    on = f"{count(cost.num_findings, 'finding')} of {count(cost.num_images, 'validation image')}"
    return (
        f"{metadata.precision}: mean AUROC {after}, in float32 {before} ({change:+.{_DIGITS}f}), over {on}. "
        f"{cost.num_changed:,} of {cost.num_calls:,} calls differ; "
        f"probabilities differ by at most {cost.largest:.3f}. Made with {cost.method}."
    )


def refuse_text(differences: dict[str, float]) -> str:
    """Why a file is not written."""
    text = ", ".join(f"{name} by {value:.1e}" for name, value in differences.items())
    return f"differs from PyTorch by more than {TOLERANCE:g}, so it was not written: {text}"
