"""How many images are predicted at once: measured on the GPU once per run, halved when memory runs out."""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cxr.config.schema import Eval, Image
from cxr.console import warn

Forward = Callable[[Tensor], Tensor]

_CPU_BATCH, _MAX_BATCH = 32, 256  # beyond some 128 images no GPU gets faster
# numbers in an image's largest feature map per pixel: 64 channels of half the width and height
_LARGEST_MAP = 16
_MAX_NUMBERS = 2**31 - 1  # cuDNN counts the numbers of a tensor in 32 bits
_found: "weakref.WeakKeyDictionary[nn.Module, dict[tuple[int, int, str], int]]" = weakref.WeakKeyDictionary()


def find_batch_size(
    model: nn.Module, compute: Forward, image: Image, evaluation: Eval, device: torch.device
) -> int:
    """eval.batch_size; where it is 0 the most images that fit into the GPU's free memory, or 32 on the CPU.

    On a GPU it is a power of two up to 256, below which no tensor has 2^31 numbers, that takes four fifths of
    what is free at most. It is measured once for a model, and later predictions of a run take as many.

    Args:
        model: What predicts.
        compute: Its forward pass on packed images uint8 [B, S, S].
        image: The section of the config.
        evaluation: The section `eval` of the config.
        device: The model's.
    """
    if evaluation.batch_size:
        return evaluation.batch_size
    if device.type != "cuda":
        return _CPU_BATCH
    key = image.store_size, image.size, evaluation.tta
    known = _found.setdefault(model, {})
    if key not in known:
        known[key] = _measure(compute, image, device)
    return known[key]


def _measure(compute: Forward, image: Image, device: torch.device) -> int:
    """The batch size by memory: an image takes an eighth of what a batch of 16 takes beyond a batch of 8."""
    try:
        # each twice: in its first pass cuDNN allocates memory that it keeps
        _, eight, _, sixteen = [_peak(compute, num, image.store_size, device) for num in (8, 8, 16, 16)]
    except torch.OutOfMemoryError:
        return 8  # and fewer where that is too many, see InParts
    each = max(1, (sixteen - eight) // 8)
    # memory that torch keeps for the training, which waits meanwhile
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + unused
    return choose(free, each, image.size)


def choose(free: int, each: int, size: int) -> int:
    """The largest power of two of images, each `each` bytes and `size` x `size` pixels, in `free` bytes."""
    by_memory = int(0.8 * free) // each
    by_numbers = _MAX_NUMBERS // (_LARGEST_MAP * size * size)
    most = min(_MAX_BATCH, by_memory, by_numbers)
    # the largest power of two that is not above `most`
    return 1 << max(0, most.bit_length() - 1)


def _peak(compute: Forward, num_images: int, store_size: int, device: torch.device) -> int:
    """Bytes of GPU memory that a forward pass takes at most."""
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    compute(torch.zeros(num_images, store_size, store_size, dtype=torch.uint8, device=device))
    return torch.cuda.max_memory_allocated(device) - before


class InParts:
    """A function of images, called on parts of a batch; when memory runs out the parts are halved."""

    def __init__(self, compute: Forward, batch_size: int) -> None:
        self.compute, self.batch_size = compute, batch_size

    def __call__(self, images: Tensor) -> Tensor:
        """What the function gives for the images, joined along the first dimension."""
        while True:
            try:
                return torch.cat([self.compute(part) for part in torch.split(images, self.batch_size)])
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise
            # What was allocated before the error is given back; a batch of half the size fits elsewhere.
            torch.cuda.empty_cache()
            self.batch_size = max(1, min(self.batch_size, len(images)) // 2)
            warn(f"out of GPU memory: continuing with {self.batch_size} images per batch")
