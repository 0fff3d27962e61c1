"""best.safetensors: one file that rebuilds the model by itself; last.pt: what a run resumes from. Both are atomic."""

import json
import platform
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor

from cxr.config import Config
from cxr.data.image import Preprocess
from cxr.errors import CxrError
from cxr.evaluation import calibration
from cxr.evaluation import thresholds as operating_points
from cxr.evaluation.calibration import Temperatures
from cxr.evaluation.thresholds import Thresholds
from cxr.files import write_atomically, write_bytes
from cxr.model import familiarity as familiarities
from cxr.model.classifier import Classifier
from cxr.model.familiarity import Familiarity, Measured

BEST, LAST = "best.safetensors", "last.pt"
_PATIENTS, _IMAGES, _FAMILIARITY = "patients.", "images.", "familiarity."


class SplitIdentity(BaseModel):
    """Which split trained the model: its name and, per fold, the hash of its image names and its images."""

    model_config = ConfigDict(frozen=True)
    kind: str
    name: str
    hashes: dict[str, str]
    num_images: dict[str, int]


class Metadata(BaseModel):
    """What a checkpoint says of itself, as JSON in its header."""

    model_config = ConfigDict(frozen=True)
    format: Literal[1] = 1
    config: Config
    findings: tuple[str, ...]
    preprocess: Preprocess
    split: SplitIdentity
    thresholds: str
    temperatures: str
    epoch: int
    step: int
    validation: dict[str, float | None]
    versions: dict[str, str]
    familiarity: Measured | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to predict, and everything known of how it came to be.

    Attributes:
        classifier: In evaluation mode.
        metadata: Config, findings, Preprocess, split, versions, validation figures.
        thresholds: Operating points chosen on the validation rows of its training.
        temperatures: Fitted on the same rows.
        patients: Per fold the hashes (`seen.patients_of`) of the patients it has seen.
        familiarity: Tells images unlike its validation rows; None where those were too few, and in old files.
        images: Per fold the hashes (`seen.images_of`) of the images it has seen; none in old files.
    """

    classifier: Classifier
    metadata: Metadata
    thresholds: Thresholds
    temperatures: Temperatures
    patients: dict[str, Tensor]
    familiarity: Familiarity | None = None
    images: dict[str, Tensor] = field(default_factory=dict)


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    names = ("cxr", "torch", "torchvision", "numpy", "opencv-python-headless", "scikit-learn")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; a kill at any moment leaves the old file or the new one."""
    weights = {key: value.detach().cpu().contiguous() for key, value in checkpoint.classifier.state_dict().items()}
    seen = {_PATIENTS + fold: hashes for fold, hashes in checkpoint.patients.items()}
    seen |= {_IMAGES + fold: hashes for fold, hashes in checkpoint.images.items()}
    known = checkpoint.familiarity
    arrays = familiarities.to_arrays(known) if known else {}
    familiar = {_FAMILIARITY + name: torch.from_numpy(array) for name, array in arrays.items()}
    metadata = checkpoint.metadata.model_copy(update={"familiarity": known.measured if known else None})
    header = {"cxr": metadata.model_dump_json()}
    # save_file hides a full disk behind its own error
    write_bytes(path, to_safetensors(weights | seen | familiar, header))


def load(run: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """The checkpoint of a run folder (its best one) or of a file.

    Raises:
        CxrError: No checkpoint there, a damaged file, or one that another program wrote.
    """
    path = find(run)
    try:
        with safe_open(path, "pt") as file:
            header = (file.metadata() or {}).get("cxr")
            tensors = {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError) as error:
        hints = {".pt": f"{LAST} only resumes; give {BEST}", ".safetensors": "copy it again; was the disk full?"}
        hint = hints.get(path.suffix, "the run comes first: its folder, or its .safetensors file")
        raise CxrError(f"{path}: is no whole safetensors file: {error}", hint) from None
    if header is None:
        raise CxrError(f"{path}: was not written by cxr train", "foreign weights go in through model.weights=FILE")
    try:
        metadata = Metadata.model_validate(json.loads(header))
        points = operating_points.from_json(metadata.thresholds)
        temperatures = calibration.from_json(metadata.temperatures)
        classifier = Classifier(metadata.config.model.backbone, len(metadata.findings), metadata.config.model.stem)
        patients, images, familiar = (_take(tensors, prefix) for prefix in (_PATIENTS, _IMAGES, _FAMILIARITY))
        arrays = {name: tensor.numpy() for name, tensor in familiar.items()}
        width, measured = classifier.head.in_features, metadata.familiarity
        familiarity = familiarities.from_arrays(measured, arrays, width) if measured else None
        classifier.load_state_dict(tensors)
    except (ValidationError, ValueError, KeyError, RuntimeError) as error:
        first = " ".join(str(error).split())[:300]
        raise CxrError(f"{path}: does not fit this version of cxr: {first}", "use the version that wrote it") from None
    if not all(tensor.isfinite().all() for tensor in classifier.state_dict().values() if tensor.is_floating_point()):
        raise CxrError(f"{path}: its weights are not all finite numbers", "train anew with a lower train.lr")
    classifier.to(device).to(memory_format=torch.channels_last)  # as in training, so that no sum is ordered otherwise
    return Checkpoint(classifier.eval(), metadata, points, temperatures, patients, familiarity, images)


def _take(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Remove the tensors whose names begin with the prefix; returns them by the rest of their names."""
    return {key.removeprefix(prefix): tensors.pop(key) for key in list(tensors) if key.startswith(prefix)}


def find(run: Path) -> Path:
    """The checkpoint file that RUN means."""
    path = run / BEST if run.is_dir() else run
    if not path.is_file():
        what = f"no {BEST} in it" if run.is_dir() else "no such run folder or checkpoint file"
        raise CxrError(f"{run}: {what}", "give the run folder that cxr train wrote, such as runs/nih_densenet121")
    return path


def save_resumable(path: Path, state: dict[str, object]) -> None:
    """Write what training resumes from: tensors, numbers, text, and lists and dicts of them."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # given a path, torch.save hides a full disk behind a RuntimeError
            torch.save(state, file)

    write_atomically(path, write)


def load_resumable(path: Path) -> dict[str, object]:
    """What `save_resumable` wrote; nothing is unpickled but tensors and plain values.

    Raises:
        CxrError: Not such a file.
    """
    try:
        state: dict[str, object] | None = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a broken file
        hint = f"train anew with --overwrite, also from its best: model.weights={path.with_name(BEST)} out=FOLDER"
        what = f"{path}: cannot be resumed from, it is cut off or damaged ({type(error).__name__})"
        raise CxrError(what, hint) from None
    if not isinstance(state, dict) or "history" not in state:
        raise CxrError(f"{path}: was not written by cxr train", "train anew with --overwrite, or set out=FOLDER")
    return state
