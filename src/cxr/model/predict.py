"""Classifier x pixels -> Predictions, for validation in training, `cxr eval` and `cxr predict` alike."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.config.schema import TTA, Config
from cxr.data.augment import resample, tta_versions
from cxr.data.dataset import Dataset
from cxr.data.loader import Loader
from cxr.distributed import World
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.labels.table import ROW_COLUMNS
from cxr.model import appearance
from cxr.model.batch_size import InParts, find_batch_size
from cxr.model.checkpoint import Checkpoint
from cxr.model.classifier import Classifier
from cxr.model.ood import OODDetector
from cxr.model.ood_fit import MAX_IMAGES, MIN_PATIENTS, draw_patients, fit_detector


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """float16 or bfloat16 if asked for, or if `auto` finds that the device supports it; None is float32."""
    if precision == "fp32":
        return None
    if precision == "fp16":
        return torch.float16
    if precision == "bf16":
        return torch.bfloat16
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    is_supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # not in every build
    return torch.bfloat16 if device.type == "cpu" and is_supported is not None and is_supported() else None


def forward(
    classifier: Classifier, images: Tensor, size: int, dtype: torch.dtype | None, tta: TTA = "none"
) -> Tensor:
    """Logits [B, C] of packed images uint8 [B, S, S], averaged over TTA; all predictions come from here."""
    with prediction(), torch.autocast(images.device.type, dtype, enabled=dtype is not None):
        # logits are averaged, not probabilities
        logits: list[Tensor] = [classifier(version) for version in tta_versions(images, size, tta)]
    return logits[0] if len(logits) == 1 else torch.stack(logits).mean(dim=0)


@contextmanager
def prediction() -> Iterator[None]:
    """Inference with the same kernels in training and in `cxr eval`: cuDNN uses its default.

    With trials the fastest kernel may be another on each start, and so are the last bits of the logits.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        with torch.inference_mode():
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before


def predict_rows(
    classifier: Classifier, loader: Loader, rows: npt.NDArray[np.int64], config: Config, world: World
) -> Tensor:
    """Logits [n, C] of dataset rows, each predicted once by one process; every process gets all of them."""
    classifier.eval()
    dtype = autocast_dtype(config.train.precision, world.device)

    def compute(images: Tensor) -> Tensor:
        return forward(classifier, images, config.image.size, dtype, config.eval.tta)

    batch_size = world.least(find_batch_size(classifier, compute, config.image, config.eval, world.device))
    return _over_rows(InParts(compute, batch_size), loader, rows, len(classifier.logit_shift), world)


def _over_rows(
    in_parts: InParts, loader: Loader, rows: npt.NDArray[np.int64], width: int, world: World
) -> Tensor:
    """Values [n, width] of dataset rows, each computed once by one process; every process gets them all."""
    # dataset row -> place in the result: batches may come in any order of rows
    positions = {int(row): position for position, row in enumerate(rows)}
    # zeros where another process computes, so that the sum over the processes is whole
    values = torch.zeros(len(rows), width, device=world.device)
    for batch in loader.batches(rows, in_parts.batch_size * world.size, world.rank, world.size):
        # rows of -1 fill the last batch. Indices and no mask, whose count would make the GPU wait
        is_real = torch.from_numpy(np.flatnonzero(batch.rows >= 0)).to(world.device)
        targets = [positions[int(row)] for row in batch.rows if row >= 0]
        to = torch.tensor(targets, dtype=torch.int64).to(world.device)
        values[to] = in_parts(batch.images)[is_real]
    return world.sum(values)


def predict_dataset(
    classifier: Classifier, loader: Loader, dataset: Dataset, split: str, config: Config, world: World
) -> tuple[Predictions, Tensor]:
    """(the Predictions, their logits [n, C]) of a split; an uncertain or masked label is unknown in `y`.

    Raises:
        CxrError: A logit that is not finite.
    """
    rows = dataset.rows(split)
    logits = predict_rows(classifier, loader, rows, config, world)
    # nan would be ranked somewhere, and metrics would look like numbers
    if not logits.isfinite().all():
        problem = f"{config.out}: the model's logits of {split} rows are not finite"
        raise CxrError(problem, "train with a lower train.lr, train.grad_clip=1 or train.precision=fp32")
    # 1. who is on each image: the usual columns, those of the table beside them, and the study where it is
    #    the unit
    further = [name for name in dataset.table.rows.columns if name not in ROW_COLUMNS]
    further += ["study_id"] if config.eval.unit == "study" else []
    names = ["image", "patient_id", "view", "sex", "age", *further]
    identity = dataset.table.rows.iloc[rows][names].reset_index(drop=True)
    if not any(part.table.names_patients for part in dataset.datasets):
        identity["patient_id"] = ""  # so that a report's intervals do not claim to be over patients
    identity.insert(2, "split", split)
    # 2. labels [n, C], nan where they are masked or uncertain
    targets = dataset.select(rows)
    known = targets.mask & ((targets.y == 0) | (targets.y == 1))
    y = np.where(known, targets.y, np.nan).astype(np.float64)
    # 3. probabilities [n, C]
    p = classifier.probabilities(logits).cpu().numpy().astype(np.float64)
    return Predictions(identity, targets.findings, y, p), logits


def feature_map(classifier: Classifier, squares: Tensor, size: int, dtype: torch.dtype | None) -> Tensor:
    """Feature map [n, D, h, w] of whole prepared images uint8 [n, S, S]."""
    with prediction(), torch.autocast(squares.device.type, dtype, enabled=dtype is not None):
        return classifier.feature_map(resample(squares, size))


def predict_squares(checkpoint: Checkpoint, squares: Tensor) -> tuple[Tensor, Tensor]:
    """(probabilities [n, C], feature map [n, D, h, w]) of images uint8 [n, S, S], on the model's device."""
    config, classifier = checkpoint.metadata.config, checkpoint.classifier
    device = classifier.head.weight.device
    dtype = autocast_dtype(config.train.precision, device)
    features = feature_map(classifier, squares.to(device), config.image.size, dtype)
    with torch.inference_mode():
        logits = classifier.classify(features)
    # probabilities are averaged over TTA, as when thresholds were chosen; the map is of the whole image alone
    if config.eval.tta != "none":
        logits = forward(classifier, squares.to(device), config.image.size, dtype, config.eval.tta)
    return classifier.probabilities(logits), features


def ood_vectors(features: Tensor, squares: Tensor) -> Tensor:
    """The input of `OODDetector`, [n, D + k], of feature maps [n, D, h, w] and images [n, S, S]."""
    with torch.inference_mode():
        pooled = features.float().mean(dim=(2, 3))
        return torch.cat([pooled, appearance.describe(squares.to(features.device))], dim=1)


def fit_ood_detector(
    classifier: Classifier, loader: Loader, dataset: Dataset, config: Config, world: World
) -> OODDetector | None:
    """The OODDetector of at most MAX_IMAGES validation images, which are predicted once more.

    All processes take part, and the first gets it; None where there are too few patients.
    """
    ids, validation = dataset.table.rows["patient_id"], dataset.rows("val")
    rows = draw_patients(validation, ids.iloc[validation].to_numpy(), MAX_IMAGES)
    if ids.iloc[rows].nunique() < MIN_PATIENTS:
        return None
    dtype = autocast_dtype(config.train.precision, world.device)

    def compute(images: Tensor) -> Tensor:
        return ood_vectors(feature_map(classifier, images, config.image.size, dtype), images)

    classifier.eval()
    batch_size = world.least(find_batch_size(classifier, compute, config.image, config.eval, world.device))
    num_features = classifier.head.in_features
    width = num_features + appearance.count(config.image.store_size)
    vectors = _over_rows(InParts(compute, batch_size), loader, rows, width, world)
    if not world.is_first:
        return None
    return fit_detector(vectors.cpu().numpy().astype(np.float64), num_features, ids.iloc[rows].tolist())
