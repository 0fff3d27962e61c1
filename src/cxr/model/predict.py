"""Classifier x pixels -> Predictions: validation in training, `cxr eval`, `cxr predict` all come through."""

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
from cxr.model.checkpoint import Checkpoint
from cxr.model.classifier import Classifier
from cxr.model.distributed import World

_CPU_BATCH, _MOST = 32, 1024


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where asked for, or where `auto` finds that the device computes in it; None is float32."""
    if precision == "fp32":
        return None
    if precision == "bf16" or (device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)):
        return torch.bfloat16
    native = device.type == "cpu" and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.bfloat16 if native else None


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
    peaks = []
    for num_images in (8, 8, 16):  # the first run also takes what cuDNN keeps
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        images = torch.zeros(num_images, config.image.store_size, config.image.store_size, dtype=torch.uint8)
        forward(classifier, images.to(device), config.image.size, dtype)
        peaks.append(torch.cuda.max_memory_allocated(device) - before)
    each = max(1, (peaks[2] - peaks[1]) // 8)
    free = torch.cuda.mem_get_info(device)[0]
    return int(min(_MOST, max(1, 0.8 * free // each)))


class _Forward:
    """`forward` in parts that fit: out of memory halves the parts and goes on."""

    def __init__(self, classifier: Classifier, config: Config, dtype: torch.dtype | None, batch_size: int) -> None:
        self.classifier, self.dtype, self.batch_size = classifier, dtype, batch_size
        self.size, self.views = config.image.size, config.eval.views

    def __call__(self, images: Tensor) -> Tensor:
        while True:
            try:
                parts = torch.split(images, self.batch_size)
                logits = [forward(self.classifier, part, self.size, self.dtype, self.views) for part in parts]
                return torch.cat(logits)
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
    in_parts = _Forward(classifier, config, dtype, batch_size)
    place = {int(row): number for number, row in enumerate(rows)}
    logits = torch.zeros(len(rows), len(classifier.logit_shift), device=world.device)
    for batch in loader.batches(rows, batch_size * world.size, world.rank, world.size):
        real = torch.from_numpy(batch.rows >= 0).to(world.device)
        where = torch.tensor([place[int(row)] for row in batch.rows if row >= 0], dtype=torch.int64)
        logits[where.to(world.device)] = in_parts(batch.images)[real]
    return world.sum(logits)


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
    names = ["image", "patient_id", "view", "sex", "age", *further]
    identity = dataset.table.rows.iloc[rows][names].reset_index(drop=True)
    identity.insert(2, "split", fold)
    y = np.where(known, targets.y, np.nan).astype(np.float64)
    p = classifier.probabilities(logits).cpu().numpy().astype(np.float64)
    return Predictions(identity, targets.findings, y, p), logits


def predict_squares(checkpoint: Checkpoint, squares: Tensor) -> tuple[Tensor, Tensor]:
    """(probabilities [n, C], feature map [n, D, h, w]) of prepared images uint8 [n, S, S], on the model's device."""
    config, classifier = checkpoint.metadata.config, checkpoint.classifier
    device = classifier.head.weight.device
    dtype = autocast_dtype(config.train.precision, device)
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
        features = classifier.feature_map(resample(squares.to(device), config.image.size))
        logits = classifier.pool(features)
    if config.eval.views != "single":  # as the operating points were chosen; the map stays that of the whole image
        logits = forward(classifier, squares.to(device), config.image.size, dtype, config.eval.views)
    return classifier.probabilities(logits), features
