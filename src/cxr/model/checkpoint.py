"""best.safetensors, which rebuilds the model, and last.pt, from which a run resumes; both are atomic."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from cxr.config.schema import Config
from cxr.download import hub
from cxr.errors import CxrError
from cxr.evaluation import recalibration as calibrated
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.thresholds import Thresholds
from cxr.files import write_atomically, write_bytes
from cxr.images.prepare import Preprocess
from cxr.model.classifier import Classifier
from cxr.model.ood import MeasuredLimit, OODDetector, from_arrays, to_arrays
from cxr.paths import explain
from cxr.vision import without_first_weights
from cxr.weights import checksums
from cxr.weights.errors import WeightsError
from cxr.weights.kinds import tell
from cxr.weights.locate import check_there

BEST, LAST = "best.safetensors", "last.pt"
# prefixes of the tensors beside the weights; "familiarity." are those of the OOD detector
_PATIENTS, _IMAGES, _OOD = "patients.", "images.", "familiarity."


class SplitIdentity(BaseModel):
    """Which split trained the model: its name; by part a hash of image names and the number of images."""

    model_config = ConfigDict(frozen=True)
    kind: str
    name: str
    hashes: dict[str, str]
    num_images: dict[str, Annotated[int, Field(ge=0)]]


class Metadata(BaseModel):
    """The JSON in the header of a checkpoint; files of format 1 carry no checksum.

    `patient_key` is the id of the key by which its patients and images are hashed, empty without a key.
    `is_shared`: hashes and folders were left out, see `model.shared`.
    """

    model_config = ConfigDict(frozen=True)
    format: Literal[1, 2] = 2
    config: Config
    findings: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    preprocess: Preprocess
    split: SplitIdentity
    thresholds: str
    temperatures: str
    """Of the recalibration; the field keeps its first name, which older checkpoints have."""
    epoch: int = Field(ge=0)
    step: int = Field(ge=0)
    validation: dict[str, float | None]
    versions: dict[str, str]
    familiarity: MeasuredLimit | None = None
    """Of the OOD detector; the field keeps its first name, which older checkpoints have."""
    patient_key: str = ""
    is_shared: bool = False

    @model_validator(mode="after")
    def _values_can_be_used(self) -> "Metadata":
        prepared, store_size = self.preprocess, self.config.image.store_size
        if len(set(self.findings)) < len(self.findings):
            raise ValueError("findings: a name is there twice")
        if (prepared.resize, prepared.grey) != (Preprocess.resize, Preprocess.grey):
            raise ValueError(
                f"preprocess: resize {prepared.resize!r} and grey {prepared.grey!r} are not known"
            )
        if prepared.size != store_size:
            raise ValueError(
                f"preprocess: size is {prepared.size}, and image.store_size of its config {store_size}"
            )
        return self


@dataclass(frozen=True)
class Checkpoint:
    """A model that is ready to predict, and all that is known about its training.

    Attributes:
        classifier: In evaluation mode.
        metadata: Config, findings, Preprocess, split, versions, validation metrics.
        thresholds: Operating points chosen on the validation images of its training.
        recalibration: Fitted on the same images.
        patients: Hashes (`seen_hashes.patients_of`) of the patients it has seen, by split.
        ood: Scores out-of-distribution images; None where validation patients were too few, and in old files.
        images: Hashes (`seen_hashes.images_of`) of the images it has seen, by split; none in old files.
        sha256: Of the file it was read from.
    """

    classifier: Classifier
    metadata: Metadata
    thresholds: Thresholds
    recalibration: calibrated.Recalibration
    patients: dict[str, Tensor]
    ood: OODDetector | None = None
    images: dict[str, Tensor] = field(default_factory=dict)
    sha256: str = ""


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a kill at any moment leaves the old file or the new one."""
    write_bytes(path, to_bytes(checkpoint))  # save_file hides a full disk behind its own error


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint's file."""
    # 1. tensors
    state = checkpoint.classifier.state_dict()
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    tensors |= {_PATIENTS + split: hashes for split, hashes in checkpoint.patients.items()}
    tensors |= {_IMAGES + split: hashes for split, hashes in checkpoint.images.items()}
    detector = checkpoint.ood
    if detector:
        tensors |= {_OOD + name: torch.from_numpy(array) for name, array in to_arrays(detector).items()}
    # 2. metadata, with zeros in place of the checksum, which `seal_safetensors` then writes over them
    metadata = checkpoint.metadata.model_copy(update={"familiarity": detector.measured if detector else None})
    text = metadata.model_copy(update={"format": 2}).model_dump_json().removesuffix("}")
    header = {"cxr": f'{text},"sha256":"{checksums.ZEROS}"}}'}
    return checksums.seal_safetensors(to_safetensors(tensors, header))


def load(run: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """The checkpoint of a run folder (its best one) or of a file.

    Raises:
        CxrError: No checkpoint there, a damaged file, or one that another program wrote.
    """
    path = find(run)
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get("cxr")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        sha256, is_sealed = checksums.check_safetensors(path)
    except (SafetensorError, OSError) as error:
        _refuse_kind(path)
        hints = {
            ".pt": f"{LAST} only resumes; give {BEST}",
            ".safetensors": "copy it again; was the disk full?",
        }
        hint = hints.get(path.suffix, "the run comes first: its folder, or its .safetensors file")
        raise CxrError(f"{path}: is no whole safetensors file: {error}", hint) from None
    if header is None:
        raise CxrError(f"{path}: was not written by cxr train", "to train from it: model.weights=FILE")
    try:
        metadata = Metadata.model_validate(json.loads(header))
        if metadata.format > 1 and not is_sealed:
            raise checksums.damage_error(path)
        checkpoint = _build(metadata, tensors, sha256)
    except (ValidationError, ValueError, KeyError, TypeError, RuntimeError, RecursionError) as error:
        first = " ".join(str(error).split())[:300]
        hint = "use the version that wrote it, or copy the file again"
        raise CxrError(f"{path}: does not fit this version of cxr: {first}", hint) from None
    if not all(tensor.isfinite().all() for tensor in checkpoint.classifier.state_dict().values()):
        raise CxrError(f"{path}: its weights are not all finite numbers", "train again with a lower train.lr")
    # channels last, as in training: another order of the sums would change the last bits
    checkpoint.classifier.to(device).to(memory_format=torch.channels_last)
    return checkpoint


def _build(metadata: Metadata, tensors: dict[str, Tensor], sha256: str) -> Checkpoint:
    """The checkpoint of metadata and tensors; every part is checked before the next relies on it.

    Raises:
        ValueError, KeyError, TypeError or RuntimeError: Values, kinds or shapes that do not go together.
    """
    num_findings = len(metadata.findings)
    # 1. what was fitted on validation images
    points = operating_points.from_json(metadata.thresholds)
    recalibration = calibrated.from_json(metadata.temperatures)
    for fitted, names in (("thresholds", points.findings), ("calibrations", recalibration.findings)):
        if names != metadata.findings:
            raise ValueError(f"{fitted} are of {len(names)} findings, and not of the model's {num_findings}")
    # 2. hashes; `_take` leaves the classifier's tensors alone in `tensors`
    patients, images, ood = (_take(tensors, prefix) for prefix in (_PATIENTS, _IMAGES, _OOD))
    for name, hashes in (*patients.items(), *images.items()):
        if hashes.dtype != torch.int64 or hashes.ndim != 1:
            kind = f"the kind {hashes.dtype} and the shape {list(hashes.shape)}"
            raise ValueError(f"the hashes of {name} have {kind}")
    # 3. the classifier; a damaged number of findings must not make a head that fills the memory
    bias = tensors["head.bias"].shape  # torch.Size([C])
    if bias != (num_findings,):
        raise ValueError(f"the head has the shape {list(bias)}, and there are {num_findings} findings")
    model = metadata.config.model
    with without_first_weights():
        classifier = Classifier(model.backbone, num_findings, model.stem)
    check_kinds(classifier.state_dict(), tensors)
    classifier.load_state_dict(tensors)
    # 4. the OOD detector
    arrays = {name: tensor.numpy() for name, tensor in ood.items()}
    measured = metadata.familiarity
    detector = from_arrays(measured, arrays, classifier.head.in_features) if measured else None
    return Checkpoint(classifier.eval(), metadata, points, recalibration, patients, detector, images, sha256)


def _refuse_kind(path: Path) -> None:
    """Refuse a file of another kind by its name, where the library would speak of a wrong header.

    Raises:
        CxrError: It is another kind of file, empty, or may not be read.
    """
    try:
        tell(path)
    except WeightsError as error:
        raise error.at(str(path)) from None
    except OSError as error:
        raise explain(error, path) from None


def check_kinds(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Refuse tensors of other names, shapes or kinds, which PyTorch would convert in silence.

    Raises:
        ValueError: With the first of them.
    """
    for name in (*wanted, *found):
        if name not in found or name not in wanted:
            raise ValueError(f"the tensor {name} is {'missing' if name in wanted else 'not of this model'}")
        ours, theirs = wanted[name], found[name]
        if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
            expected = f"{list(ours.shape)} of {ours.dtype}"
            raise ValueError(
                f"the tensor {name} is {list(theirs.shape)} of {theirs.dtype} and should be {expected}"
            )


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors whose names begin with the prefix; returns them by the rest of their names."""
    return {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}


def find(run: Path) -> Path:
    """The checkpoint file that RUN means, downloaded where it is hub:OWNER/NAME@REVISION."""
    check_there(run)
    if hub.is_named(run):
        return hub.fetch_weights(run)
    path = run / BEST if run.is_dir() else run
    if not path.is_file():
        problem = f"no {BEST} in it" if run.is_dir() else "no such run folder or checkpoint file"
        hint = "give the run folder that cxr train wrote, such as runs/nih_densenet121"
        raise CxrError(f"{run}: {problem}", hint)
    return path


def save_resumable(path: Path, state: dict[str, object]) -> None:
    """Write what training resumes from: tensors, numbers, text, and lists and dicts of them."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a path, torch.save hides a full disk behind a RuntimeError
            torch.save(state | {"format": 2}, file)
        checksums.seal_zip(temporary)

    write_atomically(path, write)


def load_resumable(path: Path) -> dict[str, object]:
    """What `save_resumable` wrote; nothing is unpickled but tensors and plain values.

    Raises:
        CxrError: Not such a file.
    """
    from_best = f"model.weights={path.with_name(BEST)} out=FOLDER"
    hint = f"train again with --overwrite, or from the best checkpoint: {from_best}"
    if not path.is_file():  # reading a pipe might never end
        raise CxrError(f"{path}: is no file", hint)
    try:
        is_sealed = checksums.check_zip(path)
        state: dict[str, object] | None = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CxrError(f"{path}: cannot be read: {error.strerror or error}", "is the disk damaged?") from None
    except CxrError as error:
        raise CxrError(error.problems, hint) from None
    except Exception as error:  # torch raises many kinds for a broken file
        problem = f"{path}: cannot be resumed from, it is cut off or damaged ({type(error).__name__})"
        raise CxrError(problem, hint) from None
    if not isinstance(state, dict) or "history" not in state:
        hint = "train again with --overwrite, or set out=FOLDER"
        raise CxrError(f"{path}: was not written by cxr train", hint)
    if not is_sealed and state.get("format", 1) != 1:
        raise CxrError(checksums.damage_error(path).problems, hint)
    return state
