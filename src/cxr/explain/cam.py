"""Class activation maps (Zhou et al. 2016), exact for these models."""

import torch
from torch import Tensor

from cxr.arrays import Float32
from cxr.model.classifier import Classifier


def activation_maps(classifier: Classifier, features: Tensor) -> Float32:
    """[C, h, w] of one image's features [D, h, w]; a finding's mean plus the head's bias is its logit."""
    with torch.inference_mode():
        maps: Float32 = classifier.activation_maps(features[None])[0].cpu().numpy()
    return maps
