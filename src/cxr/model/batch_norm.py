"""Batch statistics shared by several processes, without the host waiting for any of them.

torch's SyncBatchNorm gathers counts, means and deviations of each layer and waits for the counts: for
DenseNet-121 that is 121 waits of the host and 242 collectives per step. Here every process has equally many
images (loader.cut), so a layer needs one sum over the processes forward and one backward, of 2 C numbers
each, and no wait.
"""

import math
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from cxr.config.schema import Model, Train
from cxr.errors import CxrError

FEW = 16
"""With fewer images per process and micro-batch its statistics are too noisy, so that `auto` shares them."""


def shares_statistics(train: Train, model: Model, num_processes: int) -> bool:
    """Whether a run's batch norms share their statistics between processes.

    Args:
        train: The section of the config.
        model: The section of the config.
        num_processes: Of the run.

    Raises:
        CxrError: They do, and the model is compiled, or computes its activations twice, with collectives
            inside.
    """
    num_images = math.ceil(train.batch_size / num_processes)
    wanted = num_images < FEW * train.accumulate if train.sync_batchnorm == "auto" else train.sync_batchnorm
    # the norms of a frozen backbone do not learn
    if num_processes == 1 or not wanted or model.train_layers == "head":
        return False
    shared = f"with {num_processes} processes and batch statistics shared between them"
    if train.compile:
        hint = "train.compile=false, or train.sync_batchnorm=false with at least 16 images per process"
        raise CxrError(f"train.compile: {shared}", hint)
    if model.checkpointing:
        hint = "model.checkpointing=false, or train.sync_batchnorm=false"
        raise CxrError(f"model.checkpointing: {shared}", hint)
    return True


def share_statistics(model: nn.Module) -> None:
    """Turn every BatchNorm2d of a model into a SharedBatchNorm2d, in place; names and tensors stay."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the images of all processes, each of which must have as many."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalised maps [B, C, H, W], by the statistics of all processes' maps while training."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return nn.functional.batch_norm(
                images, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        normal: Tensor
        normal, mean, variance, num = _Normalise.apply(
            images, self.weight, self.bias, self.running_mean, self.eps
        )
        self._update_running(mean, variance * (num / max(1, num - 1)))  # the unbiased variance
        return normal

    @torch.no_grad()
    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as nn.BatchNorm2d does."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked.add_(1)
        momentum = self.momentum if self.momentum is not None else 0.1
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance, momentum)


class _Normalise(torch.autograd.Function):
    """Batch normalisation of maps [B, C, H, W] over all processes, with a collective forward and backward.

    In the dtype of the maps outside and in float32 inside; of the maps only themselves are kept for the
    backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        around: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        """(normalised maps, mean [C], biased variance [C], number of values per channel).

        `around` [C] is near the mean: the running mean.
        """
        num = images.numel() // images.shape[1] * dist.get_world_size()
        # 1. sums of x - a and its square over all processes, with a near the mean: with a = 0 the difference
        #    of squares below would lose the digits that both share
        centred = images.float() - _wide(around)
        sums = torch.cat([centred.sum(dim=(0, 2, 3)), centred.square().sum(dim=(0, 2, 3))])
        dist.all_reduce(sums)
        # 2. mean and variance [C]
        offset, square = (sums / num).chunk(2)  # of x - a
        variance = (square - offset.square()).clamp(min=0)
        scale = torch.rsqrt(variance + eps)
        # 3. w (x - a - offset) s + b, as one fused operation on x - a
        normal = torch.addcmul(_wide(bias - offset * scale * weight), centred, _wide(scale * weight))
        mean = around + offset
        ctx.save_for_backward(images, weight, mean, scale)
        ctx.mark_non_differentiable(variance, mean)
        ctx.num = num
        return normal.to(images.dtype), mean, variance, num

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:  # noqa: ANN401
        """Gradients of maps, weight and bias.

        With y = w z + b, z = (x - m) s and g the gradient of y, that of x is w s (g - mean(g) - z mean(g z)),
        the means over the images of all processes.
        """
        images, weight, mean, scale = ctx.saved_tensors
        gradient, unit = gradients[0].float(), (images.float() - _wide(mean)) * _wide(scale)
        sums = torch.cat([gradient.sum(dim=(0, 2, 3)), (gradient * unit).sum(dim=(0, 2, 3))])  # [2 C]
        total = sums.clone()
        dist.all_reduce(total)
        constant, slope = (total / ctx.num).chunk(2)
        before = (gradient - _wide(constant) - unit * _wide(slope)) * _wide(weight * scale)
        of_bias, of_weight = sums.chunk(2)  # of this process: DistributedDataParallel sums over all
        return before.to(images.dtype), of_weight, of_bias, None, None


def _wide(values: Tensor) -> Tensor:
    """[C] as [1, C, 1, 1]."""
    return values.view(1, -1, 1, 1)
