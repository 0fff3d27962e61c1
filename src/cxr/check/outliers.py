"""Images that a person should look at, each kind by one stated rule, and groups of duplicate images."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxr.check.files import Facts
from cxr.check.result import Listing, Twins
from cxr.fields.views import LATERAL, read_views
from cxr.labels.splits import SPLITS

Bool = npt.NDArray[np.bool_]

MAX_FLAT = 8.0
"""Spread in grey levels below which an image is nearly constant; the smallest of 1,039 radiographs is 27."""
MIN_BRIGHT_CORNERS = 40.0
MAX_DARK_SPINE = 10.0
"""Grey levels of the rule for inverted images, chosen on the images that it was measured on."""
SIZE_FACTOR = 4.0
"""How many times longer or shorter than the median an image's longer side is when its size is unusual."""
MAX_ASPECT = 2.0
"""Longer side over shorter side above which a shape is unusual."""

_KINDS = {
    "truncated": ("Truncated files", "the file ends before its image does"),
    "unreadable": ("Unreadable files", "the file is no whole image"),
    "constant": ("Constant images", "every pixel is the same"),
    "nearly_constant": (
        "Nearly constant images",
        f"grey levels spread by less than {MAX_FLAT:.0f} of 255",
    ),
    "inverted": (
        "Inverted-looking images",
        f"the upper corners are more than {MIN_BRIGHT_CORNERS:.0f} grey levels brighter than the "
        f"mediastinum, which is less than {MAX_DARK_SPINE:.0f} brighter than the lung fields (measured on "
        "frontal images: marks none of 1,039 radiographs of ChestX-ray14 and none of 1,000 phantoms, and "
        "92 % of the radiographs once they are inverted)",
    ),
    "small": ("Small images", "the shorter side is below image.size={size}"),
    "odd_size": (
        "Images of an unusual size",
        f"the longer side is over {SIZE_FACTOR:.0f} times the median's, or under 1/{SIZE_FACTOR:.0f} of it",
    ),
    "odd_shape": ("Images of an unusual shape", f"one side is over {MAX_ASPECT:.0f} times the other"),
    "noted": (
        "Images with a note",
        "the header says that it is another kind of image, or a part of it was ignored",
    ),
    "colour": (
        "Colour images",
        "red, green and blue are more than 16 levels apart in over 1 of 1,000 pixels",
    ),
}
"""Title and rule of each kind, in the order of a report."""


def list_outliers(names: Sequence[str], lateral: Bool, facts: Sequence[Facts], size: int) -> list[Listing]:
    """What is unusual about files, by kind; kinds without an image are left out.

    Args:
        names: [n] name of each file in the report.
        lateral: [n] whether its view column says lateral.
        facts: [n] its facts.
        size: image.size of the config.
    """
    readable = np.array([not fact.reason for fact in facts], bool)
    faulty = np.array([fact.is_faulty for fact in facts], bool)
    # [n] by the reason of the decoder, which says that a file is cut off
    truncated = np.array(["truncated" in fact.reason for fact in facts], bool)
    constant = np.array([fact.constant for fact in facts], bool)
    colour = np.array([fact.kind == "colour" for fact in facts], bool)
    noted = np.array([bool(fact.notes) for fact in facts], bool)

    spread = np.array([fact.spread for fact in facts])
    # [n]; a constant image is listed as such alone
    flat = ~constant & (spread < MAX_FLAT)
    corners = np.array([fact.corners for fact in facts])
    spine = np.array([fact.spine for fact in facts])
    # the rule was measured on frontal images, and flat images have no corners to speak of
    inverted = (corners > MIN_BRIGHT_CORNERS) & (spine < MAX_DARK_SPINE) & ~flat & ~constant & ~lateral

    # sides in pixels; 0 where a file could not be read
    longer = np.array([max(fact.width, fact.height) for fact in facts])
    shorter = np.array([min(fact.width, fact.height) for fact in facts])
    # of this dataset: what is usual differs between datasets
    median = float(np.median(longer[readable])) if readable.any() else 0.0
    unusual_size = (longer > SIZE_FACTOR * median) | (longer * SIZE_FACTOR < median)

    reasons = [fact.reason for fact in facts]
    sizes = [f"{fact.width} x {fact.height}" for fact in facts]
    spreads = [f"standard deviation {fact.spread:.1f}" for fact in facts]
    notes = ["; ".join(fact.notes) for fact in facts]
    marked: dict[str, tuple[Bool, list[str]]] = {
        "truncated": (faulty & truncated, reasons),
        "unreadable": (faulty & ~truncated, reasons),
        "constant": (readable & constant, sizes),
        "nearly_constant": (readable & flat, spreads),
        "inverted": (readable & inverted, []),
        "small": (readable & (shorter < size), sizes),
        "odd_size": (readable & unusual_size, sizes),
        "odd_shape": (readable & (longer > MAX_ASPECT * shorter), sizes),
        "noted": (readable & noted, notes),
        "colour": (readable & colour, sizes),
    }
    listings = []
    for kind, (title, rule) in _KINDS.items():
        images, about = marked[kind]
        if images.any():
            listings.append(make_listing(kind, title, rule.format(size=size), names, images, about))
    return listings


def make_listing(
    kind: str, title: str, rule: str, names: Sequence[str], marked: Bool, notes: Sequence[str] = ()
) -> Listing:
    """The Listing of the marked names, with their notes where there are any."""
    rows = np.flatnonzero(marked).tolist()
    images = tuple(names[row] for row in rows)
    return Listing(kind, title, rule, images, tuple(notes[row] for row in rows) if notes else ())


def is_lateral(views: Sequence[str]) -> Bool:
    """[n] which views are lateral by their column, not by pixels, for which no rule was measured."""
    return np.array([view == LATERAL for view in read_views(views)], bool)


def find_duplicates(
    names: Sequence[str],
    patients: Sequence[str],
    splits: Sequence[str],
    facts: Sequence[Facts],
    datasets: Sequence[str] = (),
) -> list[Twins]:
    """Groups of files with the same decoded pixels.

    Those in several splits come first, then those of several datasets and patients. Constant images are left
    out: they are listed as such.

    Args:
        names: [n] name of each file in the report.
        patients: [n] whose it is.
        splits: [n] its split.
        facts: [n] its facts.
        datasets: [n] its dataset, where there are several.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if not fact.reason and not fact.constant:
            groups[fact.pixel_hash].append(row)
    duplicates = []
    # the same bytes give the same pixels, so the hash of the pixels alone makes the groups
    for rows in groups.values():
        if len(rows) < 2:
            continue
        # an empty hash is of pixels that come from no file, which cannot be told to be the same file
        files = {facts[row].file_hash for row in rows}
        used = {splits[row] for row in rows}
        duplicates.append(
            Twins(
                images=tuple(names[row] for row in rows),
                same="file" if len(files) == 1 and b"" not in files else "pixels",
                num_patients=len({patients[row] for row in rows}),
                splits=tuple(split for split in SPLITS if split in used),
                datasets=tuple(dict.fromkeys(datasets[row] for row in rows)) if datasets else (),
            )
        )
    return sorted(
        duplicates,
        # a leak first, then what looks like one patient under two ids
        key=lambda group: (-len(group.splits), -len(group.datasets), -group.num_patients, group.images),
    )
