"""Which boxes and masks are scored on which images, and where they lie there."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from cxr.arrays import Bool
from cxr.errors import CxrError
from cxr.explain.boxes import BoxFile, TrueBox, TrueMask, place_box, scored_findings
from cxr.explain.localise import draw_mask, find_islands
from cxr.explain.rle import draw_runs
from cxr.images.box import Box

_SAME_SHAPE = 0.01
"""How much the ratio of sides of a mask and its image may differ: sides are rounded where images shrink."""


@dataclass(frozen=True)
class Image:
    """An image of the dataset.

    Attributes:
        name: As the dataset has it.
        path: Its file.
        patient: Whose it is.
        is_seen: Whether the model has seen the patient or the image.
        labels: 1, 0, or another number for unknown, of each of the model's findings; empty without a table.
    """

    name: str
    path: Path
    patient: str
    is_seen: bool = False
    labels: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Case:
    """The boxes or masks of one finding on one image, and the model's findings they are scored for."""

    image: Image
    finding: str
    numbers: tuple[int, ...]
    marks: tuple[TrueBox | TrueMask, ...]


def gather(file: BoxFile, images: Sequence[Image], findings: tuple[str, ...]) -> tuple[list[Case], list[str]]:
    """(what can be scored, by image and finding; how many others are left out, and why)."""
    reasons: Counter[str] = Counter()
    known = _by_name(file, images)
    groups: dict[tuple[Image, str], list[TrueBox | TrueMask]] = defaultdict(list)
    numbers_of: dict[str, tuple[int, ...]] = {}
    # the first reason that holds is the one that is told
    for mark in file.boxes:
        shown, numbers = scored_findings(mark.finding, findings)
        image = known.get(mark.image)
        if not numbers:
            reasons[f"of {mark.finding}, which the model does not predict"] += 1
        elif image is None:
            reasons["of images that are not in the dataset or have no file"] += 1
        elif image.is_seen:
            reasons["of patients that the model has seen in training or validation"] += 1
        else:
            groups[image, shown].append(mark)
            numbers_of[shown] = tuple(numbers)
    cases = [Case(image, shown, numbers_of[shown], tuple(marks)) for (image, shown), marks in groups.items()]
    return cases, [f"left out: {count_marks(file, num)} {reason}" for reason, num in reasons.items()]


def count_marks(file: BoxFile, num: int) -> str:
    """As `1 box` or `1,234 masks`."""
    one, many = ("mask", "masks") if file.format == "chexlocalize" else ("box", "boxes")
    return f"{num:,} {one if num == 1 else many}"


def _by_name(file: BoxFile, images: Sequence[Image]) -> Mapping[str, Image]:
    """Images by the names that a file of boxes may have for them."""
    # File names first, so that a full name wins over the file name of another image.
    known = {image.name.rpartition("/")[2]: image for image in images}
    known |= {image.name: image for image in images}
    if file.format in ("rsna", "vindr"):  # without an ending
        known = {image.name.rpartition("/")[2].rpartition(".")[0]: image for image in images} | known
    if file.format == "chexlocalize":  # patient64541_study1_view1_frontal
        known |= {"_".join(image.name.split("/")[-3:]).rpartition(".")[0]: image for image in images}
    return known


def place(
    case: Case, file: BoxFile, shape: tuple[int, ...], frame: int | None
) -> tuple[Bool, list[Box], int]:
    """(mask [H, W], boxes, how many boxes were cut) of a case in the pixels of its image.

    Boxes of several readers are united, and so are the masks of one finding: the boxes are then those around
    the islands of the union.

    Raises:
        CxrError: Every box outside the image; every mask of another shape.
    """
    problems: list[str] = []
    boxes: list[Box] = []
    mask = np.zeros(shape, np.bool_)
    num_cut = 0
    for mark in case.marks:
        if isinstance(mark, TrueMask):
            resized = _fit(mark, shape)
            if resized is None:
                sizes = f"{mark.size[1]} x {mark.size[0]} pixels, and its image {shape[1]} x {shape[0]}"
                problems.append(f"{file.path}{mark.where}: the mask has {sizes}")
            else:
                mask |= resized
            continue
        there, is_cut = place_box(mark, shape, frame)
        num_cut += is_cut
        if there is None:
            size = f"{shape[1]} x {shape[0]} pixels"
            problems.append(f"{file.path}{mark.where}: the box is outside its image of {size}")
        else:
            boxes.append(there)
    if problems:
        hint = (
            "boxes are in the pixels of the image's file; --frame 1024 scales those of images of 1024 pixels"
        )
        raise CxrError(problems, "masks are of the whole image" if boxes_are_masks(file) else hint)
    mask |= draw_mask(boxes, shape)
    if file.has_several_readers or boxes_are_masks(file):
        boxes = find_islands(mask)
    return mask, boxes, num_cut


def boxes_are_masks(file: BoxFile) -> bool:
    """Whether a file holds masks in place of boxes."""
    return file.format == "chexlocalize"


def _fit(mark: TrueMask, shape: tuple[int, ...]) -> Bool | None:
    """The mask in the pixels of its image [H, W]; None where its sides have another ratio."""
    mask = draw_runs(mark.runs, mark.size)
    if mark.size == shape:
        return mask
    (height, width), (image_height, image_width) = mark.size, shape[:2]
    # ratio of the two ratios of sides, 1 where they are alike
    if abs(width * image_height / (height * image_width) - 1) > _SAME_SHAPE:
        return None
    # the share of each pixel; where no pixel has half, those that have any
    share = cv2.resize(mask.astype(np.float32), (image_width, image_height), interpolation=cv2.INTER_AREA)
    inside = np.asarray(share >= 0.5, np.bool_)
    return inside if inside.any() else np.asarray(share > 0, np.bool_)
