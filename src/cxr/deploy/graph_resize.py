"""`images.prepare` as products with matrices, so that an exported graph takes images of any size.

An image [H, W] becomes the square [S, S] as rows [S, H] @ image @ columns [S, W]^T. Row i of such a matrix
says how much each pixel of one axis counts for pixel i of the square. Padding is rows of zeros, cropping
columns of zeros, and a square of S pixels has the identity, so that it passes unchanged.
"""

import torch
from torch import Tensor, nn

from cxr.images.prepare import Fit


class ToSquare(nn.Module):
    """Whole grey levels float [N, S, S] of images uint8 [N, H, W], as `prepare` makes them of one image.

    Borders are not cut off here. Results of cv2 differ by at most one grey level, since cv2 rounds after each
    axis and enlarges with weights of 11 bits.
    """

    def __init__(self, size: int, fit: Fit) -> None:
        super().__init__()
        self.size, self.fit = size, fit

    def forward(self, images: Tensor) -> Tensor:
        """The squares; `images` is uint8 [N, H, W]."""
        # float64: Python computes these sizes so, and another rounding would move the image by a pixel
        height = torch.scalar_tensor(images.shape[1], dtype=torch.float64)
        width = torch.scalar_tensor(images.shape[2], dtype=torch.float64)
        shortest, longest = torch.minimum(height, width), torch.maximum(height, width)
        rows_kept, rows_filled = self._fit(height, shortest, longest)
        columns_kept, columns_filled = self._fit(width, shortest, longest)
        rows = self._weights(torch.arange(images.shape[1]), height, rows_kept, rows_filled)
        columns = self._weights(torch.arange(images.shape[2]), width, columns_kept, columns_filled)
        squares = rows @ images.float() @ columns.T  # [S, H] @ [N, H, W] @ [W, S]
        # cv2 halves both sides with a rounding of its own: halves go up, and elsewhere to the even number
        halves = ((rows_kept == 2 * rows_filled) & (columns_kept == 2 * columns_filled)).float()
        return (squares + 0.1 * halves).round().clamp(0, 255)

    def _fit(self, length: Tensor, shortest: Tensor, longest: Tensor) -> tuple[Tensor, Tensor]:
        """(pixels of an axis that are kept, pixels of the square that they fill); both are in the middle."""
        whole = torch.full_like(length, self.size)
        if self.fit == "squash":
            return length, whole
        if self.fit == "crop":
            return shortest, whole
        return length, (length * (self.size / longest)).round().clamp(min=1)

    def _weights(self, pixels: Tensor, length: Tensor, kept: Tensor, filled: Tensor) -> Tensor:
        """[S, n] how much each of n pixels of an axis counts for each pixel of the square.

        Args:
            pixels: [n] 0 to n - 1.
            length: n.
            kept: Pixels that are not cropped off.
            filled: Pixels of the square that these become.
        """
        cropped, padded = ((length - kept) / 2).floor(), ((self.size - filled) / 2).floor()
        source = (pixels - cropped).float()[None, :]  # [1, n] position among the pixels that are kept
        target = (torch.arange(self.size) - padded).float()[:, None]  # [S, 1] among those that are filled
        kept, filled = kept.float(), filled.float()
        step = kept / filled
        # shrinking: the share of pixel i's cell [i, i + 1) x step that each source pixel covers
        overlap = torch.minimum(source + 1, (target + 1) * step) - torch.maximum(source, target * step)
        means = overlap.clamp(min=0) / step
        # enlarging: linear between the two nearest centres, the border repeated
        middle = torch.minimum(((target + 0.5) * step - 0.5).clamp(min=0), kept - 1)
        linear = (1 - (source - middle).abs()).clamp(min=0)
        inside = (source >= 0) & (source < kept) & (target >= 0) & (target < filled)
        return torch.where(step >= 1, means, linear) * inside
