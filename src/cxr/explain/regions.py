"""Regions of an image that are hidden from a model: border, corners, all but the lungs, lungs, chest."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from cxr.data.loader import Rows
from cxr.explain.lungs import MARGIN, TEMPLATE_SIZE, Segment, draw_template, enclose, has_failed

Region = Literal["border", "corners", "outside", "lungs", "chest"]
REGIONS: tuple[Region, ...] = get_args(Region)

BORDER, CORNER = 0.08, 0.2
"""Width of the band along the border and side of the squares in the corners, as shares of the image."""
TITLES: dict[Region, str] = {
    "border": "border hidden",
    "corners": "corners hidden",
    "outside": "all but the lungs hidden",
    "lungs": "lungs hidden",
    "chest": "chest hidden",
}
MEANINGS: dict[Region, str] = {
    "border": f"a band of {BORDER:.0%} of the width and height along the border",
    "corners": f"squares of {CORNER:.0%} of the width and height in the four corners",
    "outside": "everything but the lungs",
    "lungs": "the lungs",
    "chest": f"the lungs and what is between them with the heart: their hull and {MARGIN:.0%} around it",
}


class Regions:
    """Masks of the regions of packed images, True where a region is.

    Places are shares of the image without its black padding. Padding belongs to the border and to what is
    outside of the lungs, as its shape tells what kind of image it is.

    Args:
        segment: Finds the lungs; None takes the template.
        device: Of the images.
    """

    def __init__(self, segment: Segment | None, device: torch.device) -> None:
        self.num_failed = 0
        """Images whose lungs were not found, so that the template stood in."""
        self._segment = segment
        template = draw_template()
        self._lungs = torch.from_numpy(template).to(device)
        self._chest = torch.from_numpy(enclose(template)).to(device)
        # (row numbers as bytes, masks) of the last batch
        self._last: tuple[bytes, dict[Region, Tensor]] | None = None

    def hide(self, images: Tensor, rows: Rows, region: Region) -> Tensor:
        """Images uint8 [B, S, S] of dataset rows [B] with a region filled, see `fill`."""
        return fill(images, self.find(images, rows)[region])

    def find(self, images: Tensor, rows: Rows) -> dict[Region, Tensor]:
        """Masks [B, S, S] of all regions."""
        key = rows.tobytes()  # several changes of a batch follow each other
        if self._last is None or self._last[0] != key:
            # the batch before is forgotten: masks of one batch are all that is kept
            self._last = key, self._find(images)
        return self._last[1]

    def _find(self, images: Tensor) -> dict[Region, Tensor]:
        across, down = locate(images)
        # [B, S, S] from the template, then from the segmentation where that is at hand
        lungs, chest = (_lay(template, across, down) for template in (self._lungs, self._chest))
        if self._segment:
            found = self._segment(images)
            # [B]
            is_found = ~has_failed(found)
            self.num_failed += int((~is_found).sum())
            hulls = np.stack([enclose(mask) for mask in found.cpu().numpy()])
            # the template stands in, image by image, where the segmentation failed
            lungs = torch.where(is_found[:, None, None], found, lungs)
            chest = torch.where(is_found[:, None, None], torch.from_numpy(hulls).to(images.device), chest)
        return {
            "border": _ends(across, BORDER) | _ends(down, BORDER),
            "corners": _ends(across, CORNER) & _ends(down, CORNER),
            "outside": ~lungs,
            "lungs": lungs,
            "chest": chest,
        }


def locate(images: Tensor) -> tuple[Tensor, Tensor]:
    """Place of each column [B, 1, S] and row [B, S, 1] of images [B, S, S], from 0 to 1 within the content.

    Content is what lies between the first and the last row and column that are not all black; padding is
    below 0 or above 1.
    """
    return _along(images.amax(dim=1) > 0)[:, None, :], _along(images.amax(dim=2) > 0)[:, :, None]


def _along(is_content: Tensor) -> Tensor:
    """[B, S] places within the content; an image that is black everywhere is all content."""
    size = is_content.shape[1]
    is_content = is_content | ~is_content.any(dim=1, keepdim=True)
    # [B, S]; argmax gives the first 1, and of the flipped marks the distance of the last 1 from the end
    marks = is_content.to(torch.int32)
    first = marks.argmax(dim=1, keepdim=True)  # the first of the largest
    last = size - marks.flip(1).argmax(dim=1, keepdim=True)
    # [S] middles of the pixels; a place is 0 where the content begins and 1 where it ends
    middles = torch.arange(size, device=is_content.device) + 0.5
    return (middles - first) / (last - first)


def _ends(place: Tensor, share: float) -> Tensor:
    return (place < share) | (place > 1 - share)


def _lay(template: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """[B, S, S] a template [T, T] laid over the content of each image; False in the padding."""
    inside = (across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)
    # [B, 1, S] and [B, S, 1] numbers of the template's cells; indexing with both gives [B, S, S]
    columns, rows = ((place * TEMPLATE_SIZE).long().clamp(0, TEMPLATE_SIZE - 1) for place in (across, down))
    return template[rows, columns] & inside


def fill(images: Tensor, hidden: Tensor) -> Tensor:
    """Images uint8 [B, S, S] whose hidden pixels have the mean of those that stay visible, without padding.

    The mean of the whole image would tell how bright the hidden part was.
    """
    across, down = locate(images)
    visible = ~hidden & (across > 0) & (across < 1) & (down > 0) & (down < 1)
    # [B] sums in whole numbers: float32 would round them for images of many pixels
    total = (images * visible).sum(dim=(1, 2), dtype=torch.int64)
    mean = (total / visible.sum(dim=(1, 2)).clamp(min=1)).round().to(torch.uint8)
    return torch.where(hidden, mean[:, None, None], images)
