"""Facts -> images that a person should look at: each kind by one stated rule."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxr.check.inspect import Facts
from cxr.check.result import Listing, Twins
from cxr.fields.views import LATERAL, read_views
from cxr.labels.splits import SPLITS

Bool = npt.NDArray[np.bool_]

FLAT = 8.0
"""Spread in grey levels below which an image is nearly constant; the least of 1,039 radiographs has 27."""
BRIGHT_CORNERS, DARK_SPINE = 40.0, 10.0
"""Grey levels of the rule for inverted images, chosen on the radiographs and phantoms that it was measured on."""
FAR = 4.0
"""How many times larger or smaller than the median an image's longer side is when its size is odd."""
LONG = 2.0
"""Longer side over shorter side above which a shape is odd."""

_INVERTED = (
    f"the upper corners are more than {BRIGHT_CORNERS:.0f} grey levels brighter than the mediastinum, which is less "
    f"than {DARK_SPINE:.0f} brighter than the lung fields (measured on frontal images: marks none of 1,039 radiographs "
    "of ChestX-ray14 and none of 1,000 phantoms, and 92 % of the radiographs once they are inverted)"
)


def list_odd(names: Sequence[str], lateral: Bool, facts: Sequence[Facts], size: int) -> list[Listing]:
    """What is odd about files, by kind; kinds without an image are left out.

    Args:
        names: [n] what to call each file.
        lateral: [n] whether its view column says lateral.
        facts: [n] what it is.
        size: image.size of the config.
    """
    readable = np.array([not one.reason for one in facts], bool)
    faulty = np.array([bool(one.reason and not one.hint) for one in facts], bool)
    cut = np.array(["truncated" in one.reason for one in facts], bool)
    constant, spread = _column(facts, "constant").astype(bool), _column(facts, "spread")
    inverted = (_column(facts, "corners") > BRIGHT_CORNERS) & (_column(facts, "spine") < DARK_SPINE)
    reasons, sizes = [one.reason for one in facts], [f"{one.width} x {one.height}" for one in facts]
    spreads = [f"standard deviation {one.spread:.1f}" for one in facts]
    colour = np.array([one.kind == "colour" for one in facts], bool)
    noted, notes = np.array([bool(one.notes) for one in facts], bool), ["; ".join(one.notes) for one in facts]
    small, far, long = _sizes(facts, readable, size)
    flat = ~constant & (spread < FLAT)
    kinds: list[tuple[str, str, str, Bool, list[str]]] = [
        ("truncated", "Truncated files", "the file ends before its image does", faulty & cut, reasons),
        ("unreadable", "Unreadable files", "the file is no whole image", faulty & ~cut, reasons),
        ("constant", "Constant images", "every pixel is the same", readable & constant, sizes),
        ("nearly_constant", "Nearly constant images", f"grey levels spread by less than {FLAT:.0f} of 255",
         readable & flat, spreads),
        ("inverted", "Inverted-looking images", _INVERTED, readable & ~flat & ~constant & ~lateral & inverted, []),
        ("small", "Small images", f"the shorter side is below image.size={size}", small, sizes),
        ("odd_size", "Images of an odd size", f"the longer side is over {FAR:.0f} times the median's, or under 1/"
         f"{FAR:.0f} of it", far, sizes),
        ("odd_shape", "Images of an odd shape", f"one side is over {LONG:.0f} times the other", long, sizes),
        ("noted", "Images with a note", "the header says that it is another kind of image, or a part of it was ignored",
         readable & noted, notes),
        ("colour", "Colour images", "red, green and blue are more than 16 levels apart in over 1 of 1,000 pixels",
         readable & colour, sizes),
    ]  # fmt: skip
    return [
        listing(kind, title, rule, names, which, notes)
        for kind, title, rule, which, notes in kinds
        if which.any()
    ]


def listing(
    kind: str, title: str, rule: str, names: Sequence[str], which: Bool, notes: Sequence[str] = ()
) -> Listing:
    """The Listing of the names that `which` marks."""
    rows = np.flatnonzero(which).tolist()
    return Listing(kind, title, rule, tuple(names[r] for r in rows), tuple(notes[r] for r in rows if notes))


def is_lateral(views: Sequence[str]) -> Bool:
    """Which views are lateral by what their column says; pixels are not asked, as no rule for them was measured."""
    return np.array([view == LATERAL for view in read_views(views)], bool)


def find_twins(
    names: Sequence[str],
    patients: Sequence[str],
    folds: Sequence[str],
    facts: Sequence[Facts],
    archives: Sequence[str] = (),
) -> list[Twins]:
    """Groups of files with the same decoded pixels, those in several splits first, then those of several patients.

    Constant images are left out: they are listed as such.

    Args:
        names: [n] what to call each file.
        patients: [n] whose it is.
        folds: [n] its split.
        facts: [n] what it is.
        archives: [n] its archive, where there are several.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, one in enumerate(facts):
        if not one.reason and not one.constant:
            groups[one.pixel_hash].append(row)
    twins = [
        _twins(rows, names, patients, folds, facts, archives) for rows in groups.values() if len(rows) > 1
    ]
    return sorted(twins, key=lambda one: (-len(one.folds), -len(one.archives), -one.num_patients, one.images))


def _twins(
    rows: list[int],
    names: Sequence[str],
    patients: Sequence[str],
    folds: Sequence[str],
    facts: Sequence[Facts],
    archives: Sequence[str],
) -> Twins:
    files = {facts[row].file_hash for row in rows}
    inside = {folds[row] for row in rows}
    return Twins(
        tuple(names[row] for row in rows),
        "file" if len(files) == 1 and b"" not in files else "pixels",
        len({patients[row] for row in rows}),
        tuple(fold for fold in SPLITS if fold in inside),
        tuple(dict.fromkeys(archives[row] for row in rows if archives)),
    )


def _column(facts: Sequence[Facts], name: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(one, name) for one in facts], np.float64)


def _sizes(facts: Sequence[Facts], readable: Bool, size: int) -> tuple[Bool, Bool, Bool]:
    """Which are smaller than the model's input, far from the median size, and far from square."""
    width, height = _column(facts, "width"), _column(facts, "height")
    longer, shorter = np.maximum(width, height), np.minimum(width, height)
    median = float(np.median(longer[readable])) if readable.any() else 0.0
    far = (longer > FAR * median) | (longer * FAR < median)
    return readable & (shorter < size), readable & far, readable & (longer > LONG * shorter)
