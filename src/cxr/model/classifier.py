"""torchvision backbone + linear head, split at the feature map; normalisation is a buffer."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from cxr.vision import get_model

Stem = Literal["rgb", "grey"]
TrainLayers = Literal["all", "head", "last_block"]

torch.backends.cudnn.allow_tf32 = False  # float32 means float32; bfloat16 is there for speed

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Classifier(nn.Module):
    """Grey radiographs -> one logit per finding.

    One forward serves training, class activation maps and export: with F the feature map [B, D, h, w] and W,
    b the head's weight and bias, logit = mean over (h, w) of (W F) + b, since pooling and the head are both
    linear.

    Attributes:
        backbone: torchvision's network without its head; its tensors keep torchvision's names.
        head: Linear [D -> C].
        logit_shift: [C] added to logits before the sigmoid, which undoes the loss's class weights
            (loss.logit_shift).
    """

    mean: Tensor
    std: Tensor
    logit_shift: Tensor

    def __init__(self, backbone: str, num_findings: int, stem: Stem = "rgb") -> None:
        super().__init__()
        self.name = backbone
        self.backbone, width = _build_backbone(backbone)
        self.head = nn.Linear(width, num_findings)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN) * 255)
        self.register_buffer("std", torch.tensor(IMAGENET_STD) * 255)
        self.register_buffer("logit_shift", torch.zeros(num_findings))
        self._train_layers: TrainLayers = "all"
        if stem == "grey":
            self.fold_stem()

    @property
    def stem(self) -> Stem:
        """Whether the first convolution sees three channels or one."""
        return "rgb" if len(self.mean) == 3 else "grey"

    @torch.no_grad()
    def fold_stem(self) -> None:
        """Turn the first convolution into one over grey pixels with the same results away from the border.

        All three channels hold the same grey value x, each with its own mean m_c and deviation s_c. With m
        and s the means of these over the channels and z = (x - m) / s,

            sum_c w_c (x - m_c) / s_c  =  z sum_c w_c s / s_c  +  sum_c w_c (m - m_c) / s_c

        which is a convolution of z with one channel: its weight is the first sum, its bias the second, summed
        over the 7 x 7 window too. At the border the zeros around the image stand for m in place of m_c.
        """
        convolutions = [(name, part) for name, part in self.backbone.named_modules()
                        if isinstance(part, nn.Conv2d)]  # fmt: skip
        name, old = convolutions[0]  # weight [64, 3, 7, 7], no bias
        new = nn.Conv2d(1, old.out_channels, (7, 7), stride=(2, 2), padding=(3, 3), device=old.weight.device)
        mean, std = self.mean.mean(), self.std.mean()
        # [3] to [1, 3, 1, 1], so that each channel's weights [64, 7, 7] get its factor
        scale = (std / self.std).view(1, -1, 1, 1)
        shift = ((mean - self.mean) / self.std).view(1, -1, 1, 1)
        new.weight.copy_((old.weight * scale).sum(dim=1, keepdim=True))  # [64, 1, 7, 7]
        assert new.bias is not None
        new.bias.copy_((old.weight * shift).sum(dim=(1, 2, 3)))  # [64]
        self.backbone.set_submodule(name, new)
        self.mean, self.std = mean[None], std[None]  # [1] from now on, which says that the stem is grey

    def normalise(self, images: Tensor) -> Tensor:
        """[B, 3 or 1, H, W], channels last, from grey [B, 1, H, W] in [0, 255], by mean and deviation."""
        grey = images.permute(0, 2, 3, 1)  # [B, H, W, 1], to broadcast against [3] or [1]
        # (x - m) / s as one fused operation -m / s + x / s; the channels stay last in memory
        return torch.addcmul(-self.mean / self.std, grey, 1 / self.std).permute(0, 3, 1, 2)

    def feature_map(self, images: Tensor) -> Tensor:
        """Feature map [B, D, h, w] before pooling, from grey [B, 1, H, W] in [0, 255]."""
        features: Tensor = self.backbone(self.normalise(images))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Logits [B, C] of a feature map [B, D, h, w], in float32: half precision would make ties."""
        with torch.autocast(features.device.type, enabled=False):
            pooled = features.float().mean(dim=(2, 3))  # [B, D]
            logits: Tensor = self.head(pooled)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, C] that the loss sees, from grey [B, 1, H, W] in [0, 255]."""
        return self.classify(self.feature_map(images))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities [B, C] in float64, class weights undone; in float32 high ones would tie at 1."""
        return torch.sigmoid((logits + self.logit_shift).double())

    def activation_maps(self, features: Tensor) -> Tensor:
        """Class activation maps [B, C, h, w]: mean over (h, w) + bias = logit (Zhou et al. 2016)."""
        return torch.einsum("bdhw,cd->bchw", features.float(), self.head.weight)

    def set_trainable(self, which: TrainLayers) -> None:
        """Freeze all other layers; frozen batch norms keep their statistics."""
        self._train_layers = which
        self.backbone.requires_grad_(which == "all")
        if which == "last_block":
            for module in self._last_block():
                module.requires_grad_(True)
        self.train(self.training)

    def _last_block(self) -> Iterator[nn.Module]:
        is_densenet = self.name.startswith("densenet")
        names = ("features.denseblock4", "features.norm5") if is_densenet else ("layer4",)
        return (self.backbone.get_submodule(name) for name in names)

    def train(self, mode: bool = True) -> "Classifier":
        """Training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        if mode and self._train_layers != "all":
            self.backbone.eval()
            for module in self._last_block() if self._train_layers == "last_block" else ():
                module.train()
        return self


def _build_backbone(name: str) -> tuple[nn.Sequential, int]:
    """(torchvision's network without pooling and head, its number of features D)."""
    net = get_model(name, weights=None)
    if name.startswith("densenet"):
        parts = OrderedDict(features=net.features, relu=nn.ReLU(inplace=True))
        return nn.Sequential(parts), net.classifier.in_features
    parts = OrderedDict(net.named_children())
    del parts["avgpool"], parts["fc"]
    return nn.Sequential(parts), net.fc.in_features
