"""Readers of boxes: NIH's, RSNA's, VinDr-CXR's, the phantom's and a general CSV."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from cxr.errors import CxrError
from cxr.explain.rle import Runs
from cxr.findings import NO_FINDING, TOGETHER, canonical, find, name_key
from cxr.images.box import Box
from cxr.labels.sheet import decode_text

OPACITY = "Lung Opacity"
_FIRST_NAMES = {"Infiltrate": "Infiltration"}
"""Names in NIH's list of boxes for the findings of its label table."""
_PUBLIC_FRAME = 1024
"""Pixels of the images that NIH's and RSNA's boxes are in, as all images of ChestX-ray14 have."""
_FORMATS = {
    "nih": ("image index", "finding label", "bbox [x", "y", "w", "h]"),
    "rsna": ("image", "x", "y", "width", "height", "target"),
    "vindr": ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max"),
    "phantom": ("path", "finding", "x", "y", "w", "h"),
    "table": ("image", "finding", "x", "y", "width", "height"),
}
"""Headings that tell a file's format, commas in NIH's included; further columns are allowed."""
_RSNA_IMAGES = ("image index", "patientid")
"""Headings of RSNA's images: the names in ChestX-ray14, or Kaggle's, whose files are called by patients."""
_HINT = (
    "give NIH's BBox_List_2017.csv, RSNA's rsna_boxes.csv, VinDr-CXR's annotations, CheXlocalize's masks in "
    "JSON, or columns image, finding, x, y, width, height"
)
_ALIASES = {name_key("Airspace Opacity"): OPACITY}
"""CheXlocalize's name for CheXpert's observation."""


@dataclass(frozen=True)
class TrueBox:
    """A box in a file: x, y, width and height in pixels of its frame, and the line it stands in."""

    image: str
    finding: str
    corners: tuple[float, float, float, float]
    line: int

    @property
    def where(self) -> str:
        """Its place in the file, behind the file's name."""
        return f":{self.line}"


@dataclass(frozen=True, eq=False)
class TrueMask:
    """A mask in a file: its (height, width) in pixels and its runs."""

    image: str
    finding: str
    size: tuple[int, int]
    runs: Runs

    @property
    def where(self) -> str:
        """Its place in the file, behind the file's name."""
        return f": {self.image}, {self.finding}"


@dataclass(frozen=True)
class BoxFile:
    """What a file of boxes or masks says.

    Attributes:
        path: The file.
        format: nih, rsna, vindr, phantom, table or chexlocalize.
        boxes: Boxes or masks, in the file's order.
        empty: Images that were read and have no box.
        num_empty: Masks without a pixel.
        num_repeated: Rows that say the same as an earlier one, which are not counted again.
    """

    path: Path
    format: str
    boxes: tuple[TrueBox | TrueMask, ...]
    empty: tuple[str, ...]
    num_empty: int = 0
    num_repeated: int = 0

    def frame(self, source: str) -> int | None:
        """Width of the images that the boxes are in; None where it is that of the dataset's own images."""
        return _PUBLIC_FRAME if source == "nih" and self.format in ("nih", "rsna") else None

    @property
    def has_several_readers(self) -> bool:
        """Whether boxes of one image and finding may be those of several readers, of the same place."""
        return self.format == "vindr"


def read_boxes(path: Path) -> BoxFile:
    """The boxes of a file, whose format is known by its headings.

    Raises:
        CxrError: No such file, another table, or cells that are no box of at least some size.
    """
    try:
        text = decode_text(path, path.read_bytes())
    except OSError as error:
        raise CxrError(f"{path}: {error.strerror or error}", _HINT) from None
    lines = list(csv.reader(text.splitlines()))
    heading = [cell.strip().lower() for cell in lines[0]] if lines else []
    if "target" in heading:
        heading = ["image" if cell in _RSNA_IMAGES else cell for cell in heading]
    kind = next((kind for kind, names in _FORMATS.items() if set(names) <= set(heading)), None)
    if kind is None:
        raise CxrError(f"{path}: its columns are not those of a table of boxes", _HINT)
    # cells are taken by heading, so that further columns and another order do no harm
    at = [heading.index(name) for name in _FORMATS[kind]]
    # by all that a row says: the same box twice would count twice
    boxes: dict[tuple[object, ...], TrueBox] = {}
    empty: dict[str, None] = {}
    problems: list[str] = []
    num_boxes = 0
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        picked = [cells[place].strip() if place < len(cells) else "" for place in at]
        try:
            box = _read_row(kind, picked, number)
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
            continue
        if box is None:
            empty[picked[0]] = None
        else:
            num_boxes += 1
            boxes.setdefault((box.image, box.finding, box.corners), box)
    if problems:
        raise CxrError(problems, "correct or remove these rows: x, y, width and height in pixels")
    return BoxFile(path, kind, tuple(boxes.values()), tuple(empty), num_repeated=num_boxes - len(boxes))


def _read_row(kind: str, cells: list[str], line: int) -> TrueBox | None:
    """The box of a row, whose cells are in the order of `_FORMATS`; None of an image that has none.

    Raises:
        ValueError: Cells that are no box, or that contradict each other.
    """
    image, *rest = cells
    finding, corners = (OPACITY, rest[:4]) if kind == "rsna" else (rest[0], rest[1:5])
    finding = _FIRST_NAMES.get(finding, finding)
    # resized copies of VinDr-CXR write a box of one pixel for an image without a finding
    is_normal = kind == "vindr" and canonical(finding) == NO_FINDING
    has_none = is_normal or all(cell.lower() in ("", "nan") for cell in corners)
    # 1 in a row with a box, 0 in a row without one
    if kind == "rsna" and rest[4].removesuffix(".0") != ("0" if has_none else "1"):
        raise ValueError(f"has a Target of {rest[4] or 'nothing'} and {'no' if has_none else 'a'} box")
    if has_none and kind in ("rsna", "table", "vindr"):
        return None
    if not finding:
        raise ValueError("names no finding")
    return TrueBox(image, finding, _read_corners(corners, kind == "vindr"), line)


def _read_corners(cells: list[str], has_ends: bool) -> tuple[float, float, float, float]:
    """x, y, width and height, from these or from both corners.

    Raises:
        ValueError: Other cells, or a box without width or height.
    """
    try:
        x, y, width, height = (float(cell) for cell in cells)
    except ValueError:
        raise ValueError(f"is no box: {', '.join(cells)}") from None
    # float takes `nan` and `inf` as numbers
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError(f"is no box: {', '.join(cells)}")
    if has_ends:
        width, height = width - x, height - y
    if width <= 0 or height <= 0:
        raise ValueError(f"is a box of no size: width {width:g}, height {height:g}")
    return x, y, width, height


def place_box(box: TrueBox, shape: tuple[int, ...], frame: int | None) -> tuple[Box | None, bool]:
    """(the box in the pixels of an image [H, W], at least one a side; whether a part of it was outside).

    None where all of it is outside.
    """
    height, width = shape[:2]
    # a frame is a square that was made of the whole image, as those of ChestX-ray14 are
    across, down = (width / frame, height / frame) if frame else (1.0, 1.0)
    x, y, box_width, box_height = box.corners
    left, right = x * across, (x + box_width) * across
    top, bottom = y * down, (y + box_height) * down
    # Wholly outside is refused by the caller: most likely the box is in another frame.
    if right <= 0 or bottom <= 0 or left >= width or top >= height:
        return None, True
    # half a pixel over the edge is rounding, and no part that is cut off
    is_cut = left < -0.5 or top < -0.5 or right > width + 0.5 or bottom > height + 0.5
    first_column, first_row = min(max(0, round(left)), width - 1), min(max(0, round(top)), height - 1)
    # at least one pixel: a box without any could not be scored
    last_column = max(first_column + 1, min(width, round(right)))
    last_row = max(first_row + 1, min(height, round(bottom)))
    return Box(first_column, first_row, last_column - first_column, last_row - first_row), is_cut


def scored_findings(finding: str, findings: tuple[str, ...]) -> tuple[str, list[int]]:
    """(the name in the report, numbers of the model's findings) of a finding in a file of boxes.

    The model's finding is that of the same name or the same meaning: Effusion for "Pleural effusion",
    Fibrosis for "Pulmonary fibrosis". Where it has none, "Lung opacity" is scored for Pneumonia,
    Infiltration and Consolidation together and "Nodule/Mass" for Nodule and Mass together: at each place the
    largest of their maps counts. No number where the model lacks the finding.
    """
    name = _ALIASES.get(name_key(finding), finding)
    # a finding of the model's own wins over any group of them
    known = find(name, findings)
    if known is not None:
        return known, [findings.index(known)]
    for together, parts in TOGETHER.items():
        if name_key(name) == name_key(together):
            found = [find(part, findings) for part in parts]
            return together, [findings.index(part) for part in found if part is not None]
    return finding, []
