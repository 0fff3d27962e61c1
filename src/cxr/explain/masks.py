"""Reader of masks: CheXlocalize's segmentations, in JSON; and of any file of boxes or masks."""

import codecs
import json
from collections.abc import Mapping
from pathlib import Path

from cxr.arrays import Bool
from cxr.errors import CxrError
from cxr.explain.boxes import BoxFile, TrueMask, read_boxes
from cxr.explain.rle import Runs, check_runs, draw_runs, read_counts

_MAX_PIXELS = 1 << 28
"""Of a mask; a size that a file states is not trusted beyond it."""
_HINT = 'give CheXlocalize\'s form: {image: {finding: {"size": [height, width], "counts": text}}}'


def read_marks(path: Path) -> BoxFile:
    """The boxes of a table, or the masks of a JSON file, by how the file begins.

    Raises:
        CxrError: As `read_boxes` and `read_masks`.
    """
    if path.is_file():
        with path.open("rb") as file:
            # a few bytes tell: tables may be large
            start = file.read(64)
        if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
            return read_masks(path, path.read_bytes())
    return read_boxes(path)


def read_masks(path: Path, data: bytes) -> BoxFile:
    """The masks of a file of CheXlocalize (Saporta et al. 2022), such as gt_segmentations_test.json.

    An image is named by patient, study and view, as `patient64541_study1_view1_frontal`. A mask without a
    pixel says that the finding was not marked: it is counted and not scored.

    Raises:
        CxrError: No JSON, or another one; every mask that cannot be decoded.
    """
    try:
        content = json.loads(data.removeprefix(codecs.BOM_UTF8), object_pairs_hook=_once)
    except _RepeatedError as error:
        raise CxrError(f"{path}: {error}", "leave one of them: each image and finding has one mask") from None
    except (ValueError, RecursionError) as error:
        raise CxrError(f"{path}: is no JSON: {error}", _HINT) from None
    if not isinstance(content, dict) or not all(isinstance(masks, dict) for masks in content.values()):
        raise CxrError(f"{path}: is no list of masks by image and finding", _HINT)
    found: list[TrueMask] = []
    problems: list[str] = []
    num_empty = 0
    for image, masks in content.items():
        for finding, mask in masks.items():
            try:
                size, runs = _read_runs(mask)
            except ValueError as error:
                problems.append(f"{path}: {image}, {finding}: {error}")
                continue
            # every second run is of 1: without any the finding was not marked
            if runs[1::2].any():
                found.append(TrueMask(image, finding, size, runs))
            else:
                num_empty += 1
    if problems:
        raise CxrError(problems, _HINT)
    return BoxFile(path, "chexlocalize", tuple(found), (), num_empty)


class _RepeatedError(Exception):
    """A name that an object of the file has twice."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, which Python would else read with the last of equal names.

    Raises:
        _RepeatedError: Two values of one name.
    """
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise _RepeatedError(f"{name!r} stands there twice")
        found[name] = value
    return found


def read_mask(mask: object) -> Bool:
    """The pixels [height, width] of one mask in COCO's compressed form.

    Raises:
        ValueError: Its size or its counts are none.
    """
    size, runs = _read_runs(mask)
    return draw_runs(runs, size)


def _read_runs(mask: object) -> tuple[tuple[int, int], Runs]:
    """(height and width, runs) of one mask.

    Raises:
        ValueError: Its size or its counts are none.
    """
    size, counts = (mask.get("size"), mask.get("counts")) if isinstance(mask, Mapping) else (None, None)
    match size:
        case [int() as height, int() as width] if height > 0 and width > 0:
            # before anything of that size is made
            if height * width > _MAX_PIXELS:
                raise ValueError(f"a mask of {height} x {width} pixels is too large")
        case _:
            raise ValueError("size is not [height, width] in pixels")
    if not isinstance(counts, str):
        raise ValueError("counts are no text, as COCO's compressed ones are")
    return (height, width), check_runs(read_counts(counts), (height, width))
