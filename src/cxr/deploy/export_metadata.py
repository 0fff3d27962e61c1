"""Checkpoint -> ExportMetadata: what a user of the file must know, without patients, images and paths."""

import math
from collections.abc import Mapping
from pathlib import Path

from cxr import __version__
from cxr.config.schema import Config
from cxr.deploy.export_images import CheckImages
from cxr.deploy.graph import Graph, has_calibration
from cxr.deploy.onnx_format import (
    OPSET,
    Calibration,
    Cost,
    ExportMetadata,
    Licence,
    OODLimit,
    Parity,
    Points,
    Precision,
    Split,
    Training,
)
from cxr.deploy.parity import Resize
from cxr.model.checkpoint import Checkpoint
from cxr.model.external import is_external
from cxr.model.ood import RATE
from cxr.text import DISCLAIMER

_CODE_LICENCE = "Apache-2.0"
_LEFT_OUT = (
    "Hashes of patients and of single images, folders, and the recipe: with this file alone cxr cannot tell "
    "whether it has seen a patient. The checkpoint has them."
)
_INTENSITY = {
    "bit-depth": "8-bit values stay, deeper ones are divided by their depth or scaled by the DICOM window",
    "range": "each image's minimum becomes 0 and its maximum 255, after the DICOM window",
}


def describe(
    run: Path, checkpoint: Checkpoint, graph: Graph, precision: Precision, licence: str, parity: Parity,
    cost: Cost | None,
) -> ExportMetadata:  # fmt: skip
    """The metadata of a file."""
    metadata, config = checkpoint.metadata, checkpoint.metadata.config
    head = checkpoint.classifier.head
    return ExportMetadata(
        cxr=__version__,
        run=name_run(run),
        use=f"{DISCLAIMER} For research only.",
        licence=Licence(code=_CODE_LICENCE, weights=licence),
        precision=precision,
        opset=OPSET,
        backbone=checkpoint.classifier.name,
        findings=metadata.findings,
        outputs=graph.outputs,
        preprocess=metadata.preprocess,
        image_size=config.image.size,
        before_input=steps_before(checkpoint),
        tta=config.eval.tta,
        unit=config.eval.unit,
        combine=config.eval.combine,
        views=config.data.views,
        bias=tuple(head.bias.tolist()),
        logit_shift=tuple(checkpoint.classifier.logit_shift.tolist()),
        thresholds=_points(checkpoint),
        calibration=_calibration(checkpoint),
        ood=_ood_limit(checkpoint),
        split=Split(**metadata.split.model_dump()),
        training=_training(run, checkpoint),
        cost=cost,
        parity=parity,
        left_out=_LEFT_OUT,
    )


def describe_parity(images: CheckImages, differences: Mapping[str, float], resize: Resize | None) -> Parity:
    """The metadata's part about a comparison."""
    return Parity(
        images=images.name,
        num_images=len(images.squares),
        differences=dict(differences),
        resize_levels=resize.levels if resize else None,
        resize_probability=resize.probability if resize else None,
    )


def steps_before(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What the caller does with an image file before the graph sees it."""
    preprocess = checkpoint.metadata.preprocess
    steps = [f"decode the file into 8-bit grey, upright, 0 is black: {_INTENSITY[preprocess.intensity]}"]
    if preprocess.borders == "crop":
        steps.append("cut off uniform black or white borders")
    return tuple(steps)


def name_run(run: Path) -> str:
    """The name of a run without its folders; of a checkpoint file that of its folder."""
    if is_external(run):
        return run.name
    return run.absolute().parent.name if run.suffix == ".safetensors" else run.absolute().name


def _points(checkpoint: Checkpoint) -> Points:
    thresholds = checkpoint.thresholds
    return Points(
        values=thresholds.values,
        rule=thresholds.rule,
        chosen_on=thresholds.chosen_on,
        fallback=thresholds.fallback,
        num_positive=thresholds.num_positive,
    )


def _calibration(checkpoint: Checkpoint) -> Calibration | None:
    fitted = checkpoint.recalibration
    if not has_calibration(checkpoint):
        return None
    return Calibration(
        intercepts=_without_nan(fitted.intercepts),
        slopes=_without_nan(fitted.slopes),
        reasons=fitted.reasons,
        fitted_on=fitted.fitted_on,
        num_images=fitted.num_images,
        thresholds=fitted.apply_to_thresholds(checkpoint.thresholds).values,
    )


def _without_nan(values: tuple[float, ...]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(value) else value for value in values)


def _ood_limit(checkpoint: Checkpoint) -> OODLimit | None:
    return OODLimit(rate=RATE, **checkpoint.ood.measured.model_dump()) if checkpoint.ood else None


def _training(run: Path, checkpoint: Checkpoint) -> Training:
    """What the checkpoint says of its training; of an external model its config is invented and left out."""
    metadata, is_own = checkpoint.metadata, not is_external(run)
    return Training(
        cxr=is_own,
        dataset=_datasets(metadata.config) if is_own else (),
        initial_weights=_without_folders(metadata.config.model.weights) if is_own else "",
        epoch=metadata.epoch,
        step=metadata.step,
        validation=metadata.validation if is_own else {},
        versions=metadata.versions if is_own else {},
        checkpoint="best.safetensors" if is_own else name_run(run),
        checkpoint_sha256=checkpoint.sha256,
    )


def _datasets(config: Config) -> tuple[str, ...]:
    return tuple(section.name or section.source for section in (config.data, *config.data.also))


def _without_folders(weights: str) -> str:
    """`imagenet`, `xrv:NAME`, `none`, or the name of a file."""
    return weights.replace("\\", "/").rstrip("/").rpartition("/")[2]
