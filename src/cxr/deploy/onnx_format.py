"""What a model.onnx of `cxr export` holds: names of its input and outputs, and its metadata. No torch here.

One entry of the file's metadata, KEY, is the JSON text of an ExportMetadata. The file's checksum is in that
text: the SHA-256 of the file's bytes, with zeros in place of the 64 digits. `is_intact` computes it with
nothing but the bytes, so a program that has no library for ONNX can check a file.
"""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationError,
    model_validator,
)

from cxr.config.schema import MAX_SIZE, MIN_SIZE, MIN_STORE_SIZE
from cxr.images.prepare import Preprocess

FORMAT_VERSION: Literal[1] = 1
KEY = "cxr"
"""The entry of `metadata_props` that holds the JSON."""
OPSET = 18

IMAGE = "image"
"""The only input: uint8 [N, H, W] grey; images of one batch have the same size.

A square of the store's size passes through the resize unchanged, so squares that `prepare` made may be given.
"""

PROBABILITY = "probability"
"""float32 [N, C], those of `cxr predict`: with the run's TTA and the correction for class weights."""
CALIBRATED = "calibrated_probability"
"""float32 [N, C], those of `cxr predict --calibrated`; only where the metadata has a `calibration`."""
LOGIT = "logit"
"""float32 [N, C] of the whole image, without TTA and before the correction: mean(cam) + bias."""
CAM = "cam"
"""float32 [N, C, h, w]; its mean over (h, w) plus `bias` is the logit."""
EMBEDDING = "embedding"
"""float32 [N, D] the pooled features."""
OOD_SCORE = "ood_score"
"""float32 [N]; only where the metadata has `ood`. Above its limit `cxr predict` warns."""

ZEROS = "0" * 64

Precision = Literal["fp32", "fp16", "int8"]
Finite = tuple[FiniteFloat, ...]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """Values of JSON are taken as they are; a field that is not known is an error."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Points(_Part):
    """Thresholds, with the fields of `evaluation.thresholds.Thresholds` but the hashes of images."""

    values: tuple[Probability, ...]
    rule: str
    chosen_on: str
    fallback: tuple[str, ...] = ()
    num_positive: tuple[Count, ...] = ()
    """C times, positive images that it was chosen on; empty where that is not known."""


class Calibration(_Part):
    """How `calibrated_probability` is made, with the fields of `evaluation.recalibration.Recalibration`."""

    intercepts: tuple[FiniteFloat | None, ...]
    slopes: tuple[FiniteFloat | None, ...]
    reasons: tuple[str, ...]
    """C times why there is none, and the plain probability stands there; empty where there is one."""
    fitted_on: str
    num_images: tuple[Count, ...] = ()
    """C times, images that the line was fitted on, which bound the probabilities; empty where not known."""
    thresholds: tuple[Probability, ...]
    """C thresholds on calibrated probabilities, which call the same images as the plain ones."""


class OODLimit(_Part):
    """Of the out-of-distribution score, with the fields of `model.ood.MeasuredLimit`."""

    limit: FiniteFloat
    """A score above it raises the warning."""
    rate: FiniteFloat
    """Fraction of images like those of training that the limit was chosen to flag."""
    alarms: Count
    num_images: Count
    num_patients: Count


class Split(_Part):
    """Which split trained the model; hashes of the image names of a whole part, none of a single image."""

    kind: str
    name: str
    hashes: dict[str, str]
    num_images: dict[str, Count]


class Training(_Part):
    """What the checkpoint says of its training.

    `cxr` is false of a model that another program trained: then nothing but the weights is known.
    """

    cxr: bool
    dataset: tuple[str, ...]
    initial_weights: str
    epoch: Count
    step: Count
    validation: dict[str, float | None]
    versions: dict[str, str]
    checkpoint: str
    checkpoint_sha256: str


class Cost(_Part):
    """Mean AUROC on the run's validation images, in float32 and in the precision of this file."""

    auroc_fp32: FiniteFloat
    auroc: FiniteFloat
    num_findings: Count
    """Findings that both means are over: those with both classes among the images."""
    num_images: Count
    num_calls: Count
    """Pairs of an image and a finding, called by the plain thresholds."""
    num_changed: Count
    """Of these, pairs that this file calls in another way than float32 does."""
    largest: FiniteFloat
    """Largest difference of a probability."""
    method: str
    """How weights and activations were made smaller, and on which images ranges were measured."""


class Parity(_Part):
    """The largest differences between this file in onnxruntime and float32 PyTorch."""

    images: str
    """Which images, as `8 validation images of the run`."""
    num_images: Count
    differences: dict[str, FiniteFloat]
    """By output, over squares that were prepared outside."""
    resize_levels: Count | None
    """Grey levels by which the resize inside differs from `prepare`; None where it was not compared."""
    resize_probability: FiniteFloat | None
    """Largest difference of a probability that comes of it."""


class Licence(_Part):
    """SPDX names where there is one; empty where it is not stated."""

    code: str
    weights: str


class ExportMetadata(_Part):
    """All that a program must know to use the file as `cxr predict` does.

    Of the checkpoint are left out (`left_out` says so in the file): hashes of patients and of single images,
    paths, and the recipe.
    """

    format: Literal[1] = FORMAT_VERSION
    cxr: str
    """Version of cxr that wrote the file."""
    run: str
    """Name of the run, without its folders."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] = ZEROS
    use: str
    """That this is for research only."""
    licence: Licence
    precision: Precision
    opset: int
    backbone: str
    findings: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    outputs: tuple[str, ...]
    """Names of the outputs, in their order."""

    preprocess: Preprocess
    """`size` is the store's S."""
    image_size: Annotated[int, Field(ge=MIN_SIZE, le=MAX_SIZE)]
    """Width and height of the network's input; the graph resamples the square to it."""
    before_input: tuple[str, ...]
    """Steps that are not in the graph, which the caller does before."""

    tta: Literal["none", "flip", "ten_crop"]
    """Test-time augmentation, which is in the graph."""
    unit: Literal["image", "study", "patient"]
    combine: Literal["max", "mean"]
    """How probabilities of several images of a unit are combined, which the caller does."""
    views: tuple[str, ...] | None
    """Views that the run was trained on; None for all of its dataset, or where that is not known."""
    bias: Finite
    """[C] of the linear head."""
    logit_shift: Finite
    """[C] the correction for class weights: probability = sigmoid(logit + logit_shift) without TTA."""

    thresholds: Points
    calibration: Calibration | None
    ood: OODLimit | None
    split: Split
    training: Training
    cost: Cost | None
    """None in float32."""
    parity: Parity
    left_out: str

    @model_validator(mode="after")
    def _one_per_finding(self) -> "ExportMetadata":
        num, size = len(self.findings), self.preprocess.size
        if not MIN_STORE_SIZE <= size <= MAX_SIZE:
            raise ValueError(f"preprocess.size: is {size}, not between {MIN_STORE_SIZE} and {MAX_SIZE}")
        if len(set(self.findings)) < num:
            raise ValueError("findings: a name is there twice")
        fitted = self.calibration
        lists: dict[str, tuple[object, ...]] = {"bias": self.bias, "logit_shift": self.logit_shift}
        lists["thresholds.values"] = self.thresholds.values
        if fitted and fitted.num_images:
            lists["calibration.num_images"] = fitted.num_images
        if self.thresholds.num_positive:
            lists["thresholds.num_positive"] = self.thresholds.num_positive
        if fitted:
            lists |= {f"calibration.{name}": getattr(fitted, name)
                      for name in ("intercepts", "slopes", "reasons", "thresholds")}  # fmt: skip
        wrong = [f"{name} has {len(values)}" for name, values in lists.items() if len(values) != num]
        if wrong:
            raise ValueError(f"there are {num} findings, and {', '.join(wrong)} values")
        expected = output_names(bool(fitted), bool(self.ood))
        if self.outputs != expected:
            raise ValueError(f"outputs are {', '.join(self.outputs)} and should be {', '.join(expected)}")
        return self

    def to_json(self, has_checksum: bool = True) -> str:
        """One line of JSON; `from_json` gives the same metadata back.

        Without a checksum `sha256` is left out, for files that `seal` does not write it into.
        """
        fields = self.model_dump(mode="json", exclude=None if has_checksum else {"sha256"})
        return json.dumps(fields, allow_nan=False)


def output_names(has_calibration: bool, has_ood: bool) -> tuple[str, ...]:
    """The outputs of a file, in their order."""
    calibrated = (CALIBRATED,) if has_calibration else ()
    return (PROBABILITY, *calibrated, LOGIT, CAM, EMBEDDING, *((OOD_SCORE,) if has_ood else ()))


def from_json(text: str) -> ExportMetadata:
    """The metadata that `to_json` wrote.

    Raises:
        ValueError: Another text, a later format, or values that do not go together; the message says which.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("its metadata are no JSON") from None
    version = content.get("format") if isinstance(content, dict) else None
    if type(version) is not int:
        raise ValueError("its metadata have no number of a format")
    if version != FORMAT_VERSION:
        raise ValueError(f"it has format {version}, and this version of cxr reads format {FORMAT_VERSION}")
    try:
        return ExportMetadata.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "metadata"
        raise ValueError(f"{place}: {first['msg']}") from None


def is_intact(data: bytes, sha256: str) -> bool:
    """Whether the bytes of a file are those that were written; `sha256` is that of its metadata."""
    digits = sha256.encode("ascii")
    if data.count(digits) != 1:
        return False
    return hashlib.sha256(data.replace(digits, ZEROS.encode())).hexdigest() == sha256


def seal(data: bytes) -> bytes:
    """The bytes of a file whose metadata hold ZEROS as `sha256`, with the checksum instead."""
    field = f'"sha256": "{ZEROS}"'.encode()
    assert data.count(field) == 1, "the checksum has one place"
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(field, field.replace(ZEROS.encode(), digest.encode()))
