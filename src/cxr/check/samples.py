"""Thumbnails of what would be trained on, and of images that were listed, as packing prepares them."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from cxr.check.result import Check, Listing, Twins
from cxr.check.run import Checked
from cxr.data.store_files import Read
from cxr.images.prepare import Preprocess, prepare
from cxr.labels.table import LabelTable
from cxr.report.document import Gallery, Thumbnail

_SIDE = 112
"""Width and height of a thumbnail in pixels."""
_NUM_RANDOM, _NUM_EACH = 24, 6
_QUALITY = 82
_SEED = 0
_WITHOUT_PIXELS = ("missing", "truncated", "unreadable")


def take(found: Checked) -> dict[str, Gallery]:
    """Random images of all splits, then the first of each listing; none under --quick.

    Keys are `random`, `twins` and the kinds of listings.
    """
    check = found.check
    if check.quick:
        return {}
    galleries = {"random": Gallery("Random image", _draw_random(found))}
    galleries["twins"] = Gallery("One of several equal images", _draw_twins(check.twins, found))
    for listing in check.listings:
        if listing.kind not in _WITHOUT_PIXELS:
            galleries[listing.kind] = Gallery(listing.title, _draw_listing(listing, found))
    return {kind: gallery for kind, gallery in galleries.items() if gallery.thumbnails}


def _draw_random(found: Checked) -> tuple[Thumbnail, ...]:
    kept = found.kept
    num = min(_NUM_RANDOM, len(kept))
    # the same images at each call; in the order of the table, so that splits stand together
    rows = np.sort(np.random.default_rng(_SEED).choice(len(kept), num, replace=False))
    captions = {
        str(kept.rows["path"][row]): _caption(kept, found.check, str(found.assigned[row]), row)
        for row in rows
    }
    return _shrink_all(captions, found)


def _caption(kept: LabelTable, check: Check, split: str, row: int) -> str:
    """As `train, PA: Cardiomegaly, Edema`."""
    columns = [kept.findings.index(finding) for finding in check.plan.findings]
    labels = [kept.findings[column] for column in columns if kept.raw[row, column] == 1]
    view = str(kept.rows["view"][row]).strip()
    return f"{', '.join(part for part in (split, view) if part)}: {', '.join(labels) or 'nothing labelled'}"


def _draw_twins(twins: Sequence[Twins], found: Checked) -> tuple[Thumbnail, ...]:
    captions: dict[str, str] = {}
    for number, group in enumerate(twins[: _NUM_EACH // 2], 1):
        where = " and ".join(group.splits) or "no split"
        captions |= {
            name: f"group {number}: {where}, patients: {group.num_patients}" for name in group.images[:2]
        }
    return _shrink_all(captions, found)


def _draw_listing(listing: Listing, found: Checked) -> tuple[Thumbnail, ...]:
    notes = listing.notes or [""] * len(listing.images)
    return _shrink_all(dict(zip(listing.images[:_NUM_EACH], notes[:_NUM_EACH], strict=True)), found)


def _shrink_all(captions: Mapping[str, str], found: Checked) -> tuple[Thumbnail, ...]:
    thumbnails = (shrink(name, text, found.read, found.how) for name, text in captions.items())
    return tuple(thumbnail for thumbnail in thumbnails if thumbnail is not None)


def shrink(name: str, caption: str, read: Read, how: Preprocess) -> Thumbnail | None:
    """The thumbnail of a file; None where it can no longer be read."""
    try:
        square = prepare(read(name), how)
    except Exception:  # it was decoded a moment ago; a page without this one is still a page
        return None
    # averaging areas is the rule where images shrink; where they grow, pixels are shown as they are
    small = cv2.resize(
        square, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if how.size > _SIDE else cv2.INTER_NEAREST
    )
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return Thumbnail(data, name, caption)
