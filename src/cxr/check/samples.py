"""Thumbnails of what would be trained on, and of what is odd, as packing prepares them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from cxr.check.result import Check, Listing, Twins
from cxr.check.run import Checked
from cxr.data.store_files import Read
from cxr.images.prepare import Preprocess, prepare
from cxr.labels.table import LabelTable

SIDE = 112
"""Width and height of a thumbnail in pixels."""
_RANDOM, _EACH = 24, 6
_QUALITY = 82
_SEED = 0
_WITHOUT_PIXELS = ("missing", "truncated", "unreadable")


@dataclass(frozen=True)
class Sample:
    """A thumbnail: a JPEG as base64, the file's name, and what is said of it."""

    jpeg: str
    name: str
    caption: str


@dataclass(frozen=True)
class Gallery:
    """A row of thumbnails; `kind` is a listing's, `twins` or `random`."""

    kind: str
    samples: tuple[Sample, ...]


def take(found: Checked) -> list[Gallery]:
    """Random images that would be trained on or judged, then the first of each odd kind; none under --quick."""
    check = found.check
    if check.quick:
        return []
    galleries = [Gallery("random", _draw(found))]
    if check.twins:
        galleries.append(Gallery("twins", _draw_twins(check.twins, found)))
    galleries += [Gallery(one.kind, _draw_listing(one, found)) for one in check.listings
                  if one.kind not in _WITHOUT_PIXELS]  # fmt: skip
    return [gallery for gallery in galleries if gallery.samples]


def _draw(found: Checked) -> tuple[Sample, ...]:
    kept = found.kept
    num = min(_RANDOM, len(kept))
    rows = np.sort(np.random.default_rng(_SEED).choice(len(kept), num, replace=False))
    captions = {
        str(kept.rows["path"][row]): _caption(kept, found.check, str(found.fold[row]), row) for row in rows
    }
    return _samples(captions, found)


def _caption(kept: LabelTable, check: Check, fold: str, row: int) -> str:
    """As `train, PA: Cardiomegaly, Edema`."""
    columns = [kept.findings.index(finding) for finding in check.plan.findings]
    labels = [kept.findings[column] for column in columns if kept.raw[row, column] == 1]
    view = str(kept.rows["view"][row]).strip()
    return f"{', '.join(part for part in (fold, view) if part)}: {', '.join(labels) or 'nothing labelled'}"


def _draw_twins(twins: Sequence[Twins], found: Checked) -> tuple[Sample, ...]:
    captions: dict[str, str] = {}
    for number, group in enumerate(twins[: _EACH // 2], 1):
        where = " and ".join(group.splits) or "no split"
        captions |= {
            name: f"picture {number}: {where}, patients: {group.num_patients}" for name in group.images[:2]
        }
    return _samples(captions, found)


def _draw_listing(listing: Listing, found: Checked) -> tuple[Sample, ...]:
    notes = listing.notes or [""] * len(listing.images)
    return _samples(dict(zip(listing.images[:_EACH], notes[:_EACH], strict=True)), found)


def _samples(captions: Mapping[str, str], found: Checked) -> tuple[Sample, ...]:
    samples = (shrink(name, text, found.read, found.how) for name, text in captions.items())
    return tuple(sample for sample in samples if sample is not None)


def shrink(name: str, caption: str, read: Read, how: Preprocess) -> Sample | None:
    """The thumbnail of a file; None where it can no longer be read."""
    try:
        square = prepare(read(name), how)
    except Exception:  # it was decoded a moment ago; a page without this one is still a page
        return None
    small = cv2.resize(
        square, (SIDE, SIDE), interpolation=cv2.INTER_AREA if how.size > SIDE else cv2.INTER_NEAREST
    )
    data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return Sample(base64.b64encode(data).decode(), name, caption)
