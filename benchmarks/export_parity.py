"""Every backbone exported to ONNX, beside PyTorch on real radiographs: `python -m benchmarks.export_parity FOLDER`.

Weights are random, batch statistics are those of some of the images, and residual blocks add a quarter each, so that
activations have the size of a trained network's. FOLDER holds radiographs; the first 100 are compared, in their own
size and as prepared squares.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from cxr.config.schema import Config, Data, Image, Model
from cxr.data.dataset import preprocess
from cxr.deploy.export_images import BATCH_SIZE, CheckImages, read_images
from cxr.deploy.export_metadata import describe, describe_parity
from cxr.deploy.export_targets import make
from cxr.deploy.onnx_format import output_names
from cxr.deploy.parity import compare, compare_resize
from cxr.environment import versions
from cxr.evaluation import recalibration, thresholds
from cxr.findings import NIH_14
from cxr.model.checkpoint import Checkpoint, Metadata, SplitIdentity
from cxr.model.classifier import Classifier
from cxr.model.ood import OODDetector
from cxr.model.ood_fit import fit_detector
from cxr.model.predict import feature_map, ood_vectors

BACKBONES: tuple[str, ...] = get_args(Model.model_fields["backbone"].annotation)
STORE_SIZE, SIZE = 256, 224
_NUM_FOR_STATISTICS = 16


def random_checkpoint(backbone: str, images: CheckImages, config: Config) -> Checkpoint:
    """A checkpoint with random weights, whose calibration is made up and whose OOD detector knows the images."""
    torch.manual_seed(0)
    classifier = Classifier(backbone, len(NIH_14))
    calm_residuals(classifier)
    set_statistics(classifier, images, config.image.size)
    points = thresholds.fixed(NIH_14)
    num = len(NIH_14)
    lines = recalibration.Recalibration(NIH_14, (-0.5,) * num, (0.8,) * num, ("",) * num, "no images")
    metadata = Metadata(
        config=config, findings=NIH_14, preprocess=preprocess(config),
        split=SplitIdentity(kind="", name="none", hashes={}, num_images={}),
        thresholds=thresholds.to_json(points), temperatures=recalibration.to_json(lines), epoch=0, step=0,
        validation={}, versions=versions(),
    )  # fmt: skip
    checkpoint = Checkpoint(classifier.eval(), metadata, points, lines, patients={})
    return replace(checkpoint, ood=_fit_ood(checkpoint, images))


def calm_residuals(classifier: Classifier) -> None:
    """Let each residual block add a quarter of what it would; a hundred random layers make rounding errors large.

    A random ResNet-101 differs from itself in float64 by 7e-5 in its logits; trained blocks add little each.
    """
    for part in classifier.modules():
        if isinstance(part, BasicBlock | Bottleneck):
            last = part.bn2 if isinstance(part, BasicBlock) else part.bn3
            nn.init.constant_(last.weight, 0.25)


def set_statistics(classifier: Classifier, images: CheckImages, size: int) -> None:
    """Give the batch norms the statistics of a few images, and the shift for class weights other values than 0."""
    norms = [part for part in classifier.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches, not a running one
    classifier.train()
    feature_map(classifier, images.squares[:_NUM_FOR_STATISTICS], size, None)
    classifier.eval()
    classifier.logit_shift.uniform_(-3, 0)


def _fit_ood(checkpoint: Checkpoint, images: CheckImages) -> OODDetector | None:
    """Fitted on the images, each a patient."""
    classifier, size = checkpoint.classifier, checkpoint.metadata.config.image.size
    vectors = [
        ood_vectors(feature_map(classifier, squares, size, None), squares).numpy()
        for squares in torch.split(images.squares, BATCH_SIZE)
    ]
    ids = [str(number) for number in range(len(images.squares))]
    return fit_detector(np.concatenate(vectors).astype(np.float64), classifier.head.in_features, ids)


def make_config(backbone: str, store_size: int, size: int) -> Config:
    """A config of no dataset."""
    data = Data.model_validate({"source": "table", "root": ".", "split": "random"})
    image = Image(store_size=store_size, size=size)
    return Config(
        data=data, image=image, model=Model.model_validate({"backbone": backbone, "weights": "none"})
    )


def measure(backbone: str, images: CheckImages) -> str:
    """A row of the table."""
    checkpoint = random_checkpoint(backbone, images, make_config(backbone, STORE_SIZE, SIZE))
    begun = time.monotonic()
    exported = make(checkpoint, "onnx", "fp32", None)
    seconds = time.monotonic() - begun
    differences = compare(checkpoint, exported.run, images)
    resize = compare_resize(checkpoint, exported.run, images)
    assert resize is not None
    parity = describe_parity(images, differences, resize)
    metadata = describe(Path(backbone), checkpoint, exported.graph, "fp32", "", parity, None)
    megabytes = len(exported.to_bytes(metadata)) / 1e6
    cells = [backbone, f"{megabytes:.1f}", f"{seconds:.0f}"]
    cells += [f"{differences[name]:.1e}" for name in exported.graph.outputs]
    return row([*cells, str(resize.levels), f"{resize.probability:.1e}"])


def row(cells: Sequence[str]) -> str:
    """A row in Markdown."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table; further arguments are the backbones."""
    folder, *chosen = sys.argv[1:]
    config = make_config("resnet18", STORE_SIZE, SIZE)
    images = read_images([Path(folder)], preprocess(config))
    print(f"{len(images.squares)} images of {folder}, {STORE_SIZE} -> {SIZE} pixels; largest differences\n")
    outputs = output_names(has_calibration=True, has_ood=True)
    print(row(["backbone", "MB", "s", *outputs, "levels of resize", "probability by resize"]))
    print(row(["---", *["---:"] * (len(outputs) + 4)]))
    for backbone in chosen or BACKBONES:
        print(measure(backbone, images), flush=True)


if __name__ == "__main__":
    main()
