"""A checkpoint as one module from grey images of any size to every output of `onnx_format`."""

from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from cxr.config.schema import TTA
from cxr.data.augment import resample, tta_versions
from cxr.deploy.graph_ood import OODScore
from cxr.deploy.graph_resize import ToSquare
from cxr.deploy.onnx_format import CALIBRATED, CAM, EMBEDDING, LOGIT, OOD_SCORE, PROBABILITY, output_names
from cxr.evaluation.recalibration import Recalibration
from cxr.model.checkpoint import Checkpoint

_MAX_LOGIT = 27.631021
"""Logit of 1 - 1e-12, at which `statistics.logistic.logits` ends."""


class Graph(nn.Module):
    """Outputs of `cxr predict` in float32, by the very functions of the classifier that training uses.

    Args:
        checkpoint: The model.
        half: Whether the backbone computes in float16; all other parts stay in float32.
    """

    def __init__(self, checkpoint: Checkpoint, half: bool = False) -> None:
        super().__init__()
        config, preprocess = checkpoint.metadata.config, checkpoint.metadata.preprocess
        self.image_size = config.image.size
        self.tta: TTA = config.eval.tta
        self.to_square = ToSquare(preprocess.size, preprocess.fit)
        self.classifier = deepcopy(checkpoint.classifier).eval().requires_grad_(False)
        # a checkpoint's are channels last, which torch.export cannot save as they are
        self.classifier.to(memory_format=torch.contiguous_format)
        if half:
            self.classifier.backbone = Half(self.classifier.backbone)  # type: ignore[assignment]
        self.calibrate = Calibrate(checkpoint.recalibration) if has_calibration(checkpoint) else None
        self.ood = OODScore(checkpoint.ood) if checkpoint.ood else None
        self.outputs = output_names(self.calibrate is not None, self.ood is not None)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order of `outputs`, of uint8 [N, H, W]."""
        squares = self.to_square(image)  # [N, S, S]
        whole = resample(squares, self.image_size)  # [N, 1, size, size]
        features = self.classifier.feature_map(whole)  # [N, D, h, w]
        logits = self.classifier.classify(features)  # [N, C]
        shifted = self._average_tta(squares, logits) + self.classifier.logit_shift
        embedding = features.float().mean(dim=(2, 3))  # [N, D]
        values = {
            PROBABILITY: torch.sigmoid(shifted),
            LOGIT: logits,
            CAM: self.classifier.activation_maps(features),
            EMBEDDING: embedding,
        }
        if self.calibrate is not None:
            values[CALIBRATED] = self.calibrate(shifted)
        if self.ood is not None:
            values[OOD_SCORE] = self.ood(embedding, squares)
        return tuple(values[name] for name in self.outputs)

    def _average_tta(self, squares: Tensor, logits: Tensor) -> Tensor:
        """Logits [N, C] averaged over TTA; those of the whole image without."""
        if self.tta == "none":
            return logits
        versions = tta_versions(squares, self.image_size, self.tta)
        return torch.stack([self.classifier(version) for version in versions]).mean(dim=0)


class Half(nn.Module):
    """A backbone that computes in float16, and takes and gives float32."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone.half()

    def forward(self, images: Tensor) -> Tensor:
        """Its feature map."""
        features: Tensor = self.backbone(images.half())
        return features.float()


class Calibrate(nn.Module):
    """Calibrated probabilities [N, C] of logits, as `Recalibration.apply` makes them of probabilities.

    A finding without a fit has the line of no change, which leaves its probability as it is.
    """

    intercepts: Tensor
    slopes: Tensor
    margins: Tensor

    def __init__(self, recalibration: Recalibration) -> None:
        super().__init__()
        lines = zip(recalibration.intercepts, recalibration.slopes, recalibration.is_fitted, strict=True)
        used = [(intercept, slope) if is_fitted else (0.0, 1.0) for intercept, slope, is_fitted in lines]
        self.register_buffer("intercepts", torch.tensor([line[0] for line in used]))
        self.register_buffer("slopes", torch.tensor([line[1] for line in used]))
        # a finding without a fit has no margin either
        margins = recalibration.margins * np.array(recalibration.is_fitted)
        self.register_buffer("margins", torch.tensor(margins.tolist()))

    def forward(self, logits: Tensor) -> Tensor:
        """The probabilities."""
        p = torch.sigmoid(self.intercepts + self.slopes * logits.clamp(-_MAX_LOGIT, _MAX_LOGIT))
        # as `keep_inside`: within a margin of 0 or 1 halfway to its end
        return torch.minimum(torch.maximum(p, (p + self.margins) / 2), (p + 1 - self.margins) / 2)


def has_calibration(checkpoint: Checkpoint) -> bool:
    """Whether `cxr predict --calibrated` takes this checkpoint."""
    recalibration = checkpoint.recalibration
    return any(recalibration.is_fitted) and not recalibration.is_temperature
