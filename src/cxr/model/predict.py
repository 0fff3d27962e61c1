"""Classifier x pixels -> Predictions: validation in training, `cxr eval`, `cxr predict` all come through."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cxr.config import Config, Views
from cxr.console import warn
from cxr.data.augment import look, resample
from cxr.data.dataset import Dataset
from cxr.data.labels import ROW_COLUMNS
from cxr.data.loader import Loader
from cxr.errors import CxrError
from cxr.evaluation.predictions import Predictions
from cxr.model import appearance
from cxr.model.checkpoint import Checkpoint
from cxr.model.classifier import Classifier
from cxr.model.distributed import World
from cxr.model.familiarity import MIN_PATIENTS, MOST_IMAGES, Familiarity, fit, whole_patients

_CPU_BATCH, _MOST = 32, 1024


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where asked for, or where `auto` finds that the device computes in it; None is float32."""
    if precision == "fp32":
        return None
    if precision == "bf16" or (device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)):
        return torch.bfloat16
    asks = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)  # not in every build
    return torch.bfloat16 if device.type == "cpu" and asks is not None and asks() else None


def forward(
    classifier: Classifier, images: Tensor, size: int, dtype: torch.dtype | None, views: Views = "single"
) -> Tensor:
    """Logits [B, C] of packed images uint8 [B, S, S], as every prediction computes them: the mean over the views."""
    with torch.inference_mode(), torch.autocast(images.device.type, dtype, enabled=dtype is not None):
        logits: list[Tensor] = [classifier(view) for view in look(images, size, views)]
    return logits[0] if len(logits) == 1 else torch.stack(logits).mean(dim=0)


def find_batch_size(classifier: Classifier, config: Config, device: torch.device, dtype: torch.dtype | None) -> int:
    """eval.batch_size, or where it is 0 the most images that fill four fifths of the GPU's free memory; 32 on the CPU.

    The memory of an image is what a batch of 16 takes beyond one of 8.
    """
    if config.eval.batch_size:
        return config.eval.batch_size
    if device.type != "cuda":
        return _CPU_BATCH
    try:
        _, eight, sixteen = [_peak(classifier, num, config, device, dtype) for num in (8, 8, 16)]  # cuDNN keeps some
    except torch.OutOfMemoryError:
        return 8  # and fewer where that is too many, see `_InParts`
    each = max(1, (sixteen - eight) // 8)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by training, which waits
    free = torch.cuda.mem_get_info(device)[0] + unused
    return int(min(_MOST, max(1, 0.8 * free // each)))


def _peak(
    classifier: Classifier, num_images: int, config: Config, device: torch.device, dtype: torch.dtype | None
) -> int:
    """Bytes of GPU memory that a forward pass takes at most."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    images = torch.zeros(num_images, config.image.store_size, config.image.store_size, dtype=torch.uint8)
    forward(classifier, images.to(device), config.image.size, dtype)
    return torch.cuda.max_memory_allocated(device) - before


class _InParts:
    """A function of images in parts that fit: out of memory halves the parts and goes on."""

    def __init__(self, compute: Callable[[Tensor], Tensor], batch_size: int) -> None:
        self.compute, self.batch_size = compute, batch_size

    def __call__(self, images: Tensor) -> Tensor:
        while True:
            try:
                return torch.cat([self.compute(part) for part in torch.split(images, self.batch_size)])
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
            torch.cuda.empty_cache()
            self.batch_size = max(1, min(self.batch_size, len(images)) // 2)
            warn(f"out of GPU memory: going on with {self.batch_size} images a batch")


def predict_rows(
    classifier: Classifier, loader: Loader, rows: npt.NDArray[np.int64], config: Config, world: World
) -> Tensor:
    """Logits [n, C] of dataset rows, each predicted once, on every process after all have done their share."""
    classifier.eval()
    dtype = autocast_dtype(config.train.precision, world.device)
    batch_size = world.least(find_batch_size(classifier, config, world.device, dtype))

    def compute(images: Tensor) -> Tensor:
        return forward(classifier, images, config.image.size, dtype, config.eval.views)

    return _over_rows(_InParts(compute, batch_size), loader, rows, len(classifier.logit_shift), world)


def _over_rows(in_parts: _InParts, loader: Loader, rows: npt.NDArray[np.int64], width: int, world: World) -> Tensor:
    """[n, width] of dataset rows, each computed once, on every process after all have done their share."""
    place = {int(row): number for number, row in enumerate(rows)}
    values = torch.zeros(len(rows), width, device=world.device)
    for batch in loader.batches(rows, in_parts.batch_size * world.size, world.rank, world.size):
        real = torch.from_numpy(np.flatnonzero(batch.rows >= 0)).to(world.device)  # a mask would make the GPU wait
        where = torch.tensor([place[int(row)] for row in batch.rows if row >= 0], dtype=torch.int64)
        values[where.to(world.device)] = in_parts(batch.images)[real]
    return world.sum(values)


def predict_dataset(
    classifier: Classifier, loader: Loader, dataset: Dataset, fold: str, config: Config, world: World
) -> tuple[Predictions, Tensor]:
    """(the Predictions, the logits [n, C] behind them) of a fold; an uncertain or masked label is unknown in `y`.

    Raises:
        CxrError: A logit that is not finite.
    """
    rows = dataset.rows(fold)
    logits = predict_rows(classifier, loader, rows, config, world)
    if not logits.isfinite().all():
        what = f"{config.out}: the model's logits of {fold} rows are not finite"
        raise CxrError(what, "train with a lower train.lr, train.grad_clip=1 or train.precision=fp32")
    targets = dataset.select(rows)
    known = targets.mask & ((targets.y == 0) | (targets.y == 1))
    further = [name for name in dataset.table.rows.columns if name not in ROW_COLUMNS]
    further += ["study_id"] if config.eval.unit == "study" else []
    names = ["image", "patient_id", "view", "sex", "age", *further]
    identity = dataset.table.rows.iloc[rows][names].reset_index(drop=True)
    if not any(archive.table.names_patients for archive in dataset.archives):
        identity["patient_id"] = ""  # so that a report's intervals do not claim to be over patients
    identity.insert(2, "split", fold)
    y = np.where(known, targets.y, np.nan).astype(np.float64)
    p = classifier.probabilities(logits).cpu().numpy().astype(np.float64)
    return Predictions(identity, targets.findings, y, p), logits


def feature_map(classifier: Classifier, squares: Tensor, size: int, dtype: torch.dtype | None) -> Tensor:
    """Feature map [n, D, h, w] of whole prepared images uint8 [n, S, S]."""
    with torch.inference_mode(), torch.autocast(squares.device.type, dtype, enabled=dtype is not None):
        return classifier.feature_map(resample(squares, size))


def predict_squares(checkpoint: Checkpoint, squares: Tensor) -> tuple[Tensor, Tensor]:
    """(probabilities [n, C], feature map [n, D, h, w]) of prepared images uint8 [n, S, S], on the model's device."""
    config, classifier = checkpoint.metadata.config, checkpoint.classifier
    device = classifier.head.weight.device
    dtype = autocast_dtype(config.train.precision, device)
    features = feature_map(classifier, squares.to(device), config.image.size, dtype)
    with torch.inference_mode():
        logits = classifier.pool(features)
    if config.eval.views != "single":  # as the operating points were chosen; the map stays that of the whole image
        logits = forward(classifier, squares.to(device), config.image.size, dtype, config.eval.views)
    return classifier.probabilities(logits), features


def familiarity_values(features: Tensor, squares: Tensor) -> Tensor:
    """What `Familiarity` judges, [n, D + k]: pooled features [n, D, h, w] and the appearance of images [n, S, S]."""
    with torch.inference_mode():
        return torch.cat([features.float().mean(dim=(2, 3)), appearance.describe(squares.to(features.device))], dim=1)


def learn_familiarity(
    classifier: Classifier, loader: Loader, dataset: Dataset, config: Config, world: World
) -> Familiarity | None:
    """The Familiarity of at most MOST_IMAGES validation rows, each predicted once more; all processes take part."""
    ids = dataset.table.rows["patient_id"]
    rows = whole_patients(dataset.rows("val"), ids.iloc[dataset.rows("val")].to_numpy(), MOST_IMAGES)
    if ids.iloc[rows].nunique() < MIN_PATIENTS:
        return None
    dtype = autocast_dtype(config.train.precision, world.device)
    batch_size = world.least(find_batch_size(classifier, config, world.device, dtype))

    def compute(images: Tensor) -> Tensor:
        return familiarity_values(feature_map(classifier, images, config.image.size, dtype), images)

    classifier.eval()
    num_numbers = appearance.count(config.image.store_size)
    width = classifier.head.in_features
    values = _over_rows(_InParts(compute, batch_size), loader, rows, width + num_numbers, world)
    return fit(values.cpu().numpy().astype(np.float64), width, ids.iloc[rows].tolist()) if world.is_first else None
