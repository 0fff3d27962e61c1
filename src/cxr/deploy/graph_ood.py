"""The OOD score inside an exported graph: `model.ood.OODDetector.score` in float32."""

import torch
from torch import Tensor, nn

from cxr.model.appearance import describe
from cxr.model.ood import THUMBNAIL, Gaussian, OODDetector


class OODScore(nn.Module):
    """Scores [N] of pooled features [N, D] and squares [N, S, S], as the detector gives them in float64."""

    middle: Tensor
    reach: Tensor

    def __init__(self, detector: OODDetector) -> None:
        super().__init__()
        self.gaussians = nn.ModuleList(map(_LogDistance, detector.gaussians))
        self.register_buffer("middle", torch.tensor(detector.middle, dtype=torch.float32))  # [3]
        self.register_buffer("reach", torch.tensor(detector.reach, dtype=torch.float32))  # [3]

    def forward(self, features: Tensor, squares: Tensor) -> Tensor:
        """The scores; `squares` are whole grey levels."""
        described = describe(squares)
        # what `ood.split_parts` splits: features, thumbnail and texture side by side
        parts = (features, described[:, : THUMBNAIL**2], described[:, THUMBNAIL**2 :])
        distances = [gaussian(part) for gaussian, part in zip(self.gaussians, parts, strict=True)]
        return ((torch.stack(distances, dim=1) - self.middle) / self.reach).amax(dim=1)


class _LogDistance(nn.Module):
    """[N] log(Mahalanobis distance / sqrt(d)) of values [N, d], as `Gaussian.log_distance`."""

    mean: Tensor
    scale: Tensor
    directions: Tensor
    variances: Tensor
    rest: Tensor

    def __init__(self, gaussian: Gaussian) -> None:
        super().__init__()
        for name in ("mean", "scale", "directions", "variances", "rest"):
            self.register_buffer(name, torch.tensor(getattr(gaussian, name), dtype=torch.float32))

    def forward(self, values: Tensor) -> Tensor:
        """The log distances."""
        scaled = (values - self.mean) / self.scale  # [N, d]
        along = scaled @ self.directions.T  # [N, k]
        # the part outside the k directions, subtracted before it is squared: a difference of two squares of
        # float32 would lose it
        outside = (scaled - along @ self.directions).square().sum(dim=1)  # [N]
        squared = (along.square() / self.variances).sum(dim=1) + outside / self.rest
        return 0.5 * torch.log(squared / values.shape[1] + 1e-9)
