"""Overlays of an image: which findings are drawn, and their files (no torch)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from cxr.arrays import Float32
from cxr.deploy.overlay_names import OverlayNames, encode_npy
from cxr.deploy.predict_output import Overlays, describe_warning
from cxr.deploy.runtime import Facts, Predicted
from cxr.errors import CxrError, UnreadableImageError
from cxr.explain.lettering import Colour
from cxr.explain.overlay import Shown, Source, draw_overlay, draw_sheet
from cxr.explain.overlay_png import encode_png
from cxr.explain.panel import make_panel, shrink
from cxr.explain.scale import Scale, choose_scale
from cxr.files import write_bytes
from cxr.findings import find_spelling
from cxr.images.grey import Grey
from cxr.images.prepare import undo_prepare
from cxr.images.read import read_file

_SHEET = "sheet"
_TILE_SIDE = 480
"""Pixels of the shorter side of an image on a sheet."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn of each image.

    Attributes:
        findings: Numbers of the findings; None takes those that are called, or else the likeliest.
        with_maps: Whether the maps are written as .npy files too.
    """

    findings: tuple[int, ...] | None = None
    with_maps: bool = False


class CannotDrawError(Exception):
    """An image without overlays: the reason, without its path."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def choose_findings(names: str | None, every: bool, findings: Sequence[str]) -> tuple[int, ...] | None:
    """Numbers of the findings of --findings A,B or --all; None where neither is given.

    Raises:
        CxrError: Both are given, or a name is not one of the model's.
    """
    if every and names is not None:
        raise CxrError("--all: draws every finding already", "leave --findings or --all out")
    if every:
        return tuple(range(len(findings)))
    if names is None:
        return None
    asked = [name.strip() for name in names.split(",") if name.strip()]
    found = [find_spelling(name, findings) for name in asked]
    pairs = zip(asked, found, strict=True)
    unknown = [f"--findings {name}: not a finding of this model" for name, one in pairs if one is None]
    if unknown or not asked:
        raise CxrError(unknown or ["--findings: names no finding"], f"the model has {', '.join(findings)}")
    return tuple(dict.fromkeys(findings.index(one) for one in found if one is not None))


def draw_overlays(
    facts: Facts, file: Path, predicted: Predicted, names: OverlayNames, drawing: Drawing
) -> tuple[Overlays, Path]:
    """(the overlay file of each finding that is drawn, the sheet of all of them).

    Overlays, maps and sheets that an earlier run drew of the image and this one does not are removed. Each
    holds its image's path as a hash, so that it replaces only what an earlier run drew of the same image.

    Raises:
        CannotDrawError: The image is gone, or there is not enough memory.
        CxrError: A file cannot be written.
    """
    with _explain_failures():
        return _draw(facts, file, predicted, names, drawing)


def draw_chosen(facts: Facts, file: Path, predicted: Predicted, drawing: Drawing) -> dict[str, Colour]:
    """The overlay, BGR [H, W, 3], of each finding of an image that is drawn; writes no file.

    Raises:
        CannotDrawError: As `draw_overlays`.
    """
    with _explain_failures():
        grey = read_file(file, facts.preprocess.intensity)
        return {
            facts.findings[number]: draw_one(facts, grey, predicted, number, file.name)
            for number in _choose_numbers(facts, predicted, drawing)
        }


@contextmanager
def _explain_failures() -> Iterator[None]:
    """Raise CannotDrawError for what may go wrong with one image in the body."""
    try:
        yield
    except UnreadableImageError as error:  # it was changed or removed after it was predicted
        raise CannotDrawError(error.reason) from None
    except (cv2.error, MemoryError):
        raise CannotDrawError("it takes more memory than there is, or cannot be drawn") from None


def _draw(
    facts: Facts, file: Path, predicted: Predicted, names: OverlayNames, drawing: Drawing
) -> tuple[Overlays, Path]:
    preprocess = facts.preprocess
    grey = read_file(file, preprocess.intensity)
    panel = make_panel(grey, preprocess)
    maps, scale = scaled_maps(facts, predicted)
    source = describe_source(facts, predicted, file.name)
    drawn, written, shown = Overlays(), list[Path](), list[Shown]()
    for number in _choose_numbers(facts, predicted, drawing):
        one = make_shown(facts, predicted, maps, number)
        shown.append(one)
        path, mark = names.choose(file, one.finding)
        write_bytes(path, encode_png(draw_overlay(panel, one, scale, source), mark))
        drawn[one.finding] = path
        written.append(path)
        if drawing.with_maps:
            raw = path.with_suffix(".npy")
            write_bytes(raw, encode_npy(undo_prepare(one.cells, grey, preprocess), mark))
            written.append(raw)
    sheet, mark = names.choose(file, _SHEET, is_finding=False)
    write_bytes(sheet, encode_png(draw_sheet(shrink(panel, _TILE_SIDE), shown, scale, source), mark))
    names.drop_old(file, [*written, sheet])
    return drawn, sheet


def scaled_maps(facts: Facts, predicted: Predicted) -> tuple[Float32, Scale]:
    """(the maps [C, h, w] of an image, the scale of their colours)."""
    maps = predicted.maps
    is_called = np.array(predicted.probabilities) >= np.array(facts.thresholds.values)
    return maps, choose_scale(maps, is_called)


def make_shown(facts: Facts, predicted: Predicted, maps: Float32, number: int) -> Shown:
    """One finding of an image, as it is drawn."""
    finding, threshold = facts.findings[number], facts.thresholds.values[number]
    shift = facts.logit_shift[number] if facts.logit_shift else 0.0
    return Shown(finding, predicted.probabilities[number], threshold, maps[number], shift)


def describe_source(facts: Facts, predicted: Predicted, image: str) -> Source:
    """What captions say of an image, its model, and whether it is like the images of training."""
    return Source(image, facts.name, facts.thresholds, describe_warning(predicted.score, facts.measured))


def draw_one(facts: Facts, grey: Grey, predicted: Predicted, number: int, image: str) -> Colour:
    """The overlay of one finding of an image [H, W], as `cxr predict` draws it: BGR."""
    maps, scale = scaled_maps(facts, predicted)
    panel = make_panel(grey, facts.preprocess)
    shown = make_shown(facts, predicted, maps, number)
    return draw_overlay(panel, shown, scale, describe_source(facts, predicted, image))


def _choose_numbers(facts: Facts, predicted: Predicted, drawing: Drawing) -> Sequence[int]:
    """Numbers of the findings that were asked for, else of those that are called, else of the likeliest."""
    if drawing.findings:
        return drawing.findings
    probabilities = predicted.probabilities
    pairs = enumerate(zip(probabilities, facts.thresholds.values, strict=True))
    above = [number for number, (p, threshold) in pairs if p >= threshold]
    return above or [int(np.argmax(probabilities))]
