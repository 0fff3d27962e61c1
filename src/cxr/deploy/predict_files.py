"""Image files -> probabilities on stdout: one by one, so that a bad file costs only itself."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from cxr.console import count, warn
from cxr.deploy.overlay_names import OverlayNames
from cxr.deploy.predict_output import WRITERS, Overlays, Square, Writer
from cxr.device import choose_device
from cxr.errors import CxrError, NoImageError, UnavailableFileError, UnreadableImageError
from cxr.explain.cam import activation_map, encode_png, overlay
from cxr.files import clear_leftovers, explain_os_errors, write_bytes
from cxr.images.find_images import Found, Identity, find_images
from cxr.images.prepare import Preprocess, prepare
from cxr.images.read import read_file
from cxr.model.checkpoint import Checkpoint
from cxr.model.predict import familiarity_values, predict_squares
from cxr.model.pretrained import is_guest, open_any
from cxr.model.provenance import note_other_reports
from cxr.parallel import map_ahead
from cxr.paths import exists, is_folder
from cxr.streams import complain
from cxr.text import DISCLAIMER

_BATCH = 32
_NAMED = 20
_PASSED_OVER = {
    "other": ("file", "without an image"),
    "again": ("file", "found before under another name"),
    "above": ("link", "to a folder that holds this one"),
    "overlay": ("overlay", "that cxr drew"),
    "folder": ("folder", "for overlays"),
}


@dataclass
class _Account:
    """What became of the files."""

    total: int = 0
    failed: int = 0
    undrawn: int = 0
    passed: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    hints: dict[str, None] = field(default_factory=dict)

    def fail(self, error: CxrError) -> None:
        """Say why an image is not read."""
        self.failed += 1
        for problem in error.problems:
            complain(f"error: {problem}")
        if not isinstance(error, UnreadableImageError):  # pydicom is not installed, say
            self.hints[error.hint] = None

    def fail_to_draw(self, file: Path, reason: str) -> None:
        """Say why an image has no overlay, though it has its probabilities."""
        self.undrawn += 1
        complain(f"error: {file}: no overlay: {reason}")

    def finish(self) -> None:
        """Say how many were not read and what was passed over."""
        for what, (name, said) in _PASSED_OVER.items():
            if files := self.passed[what]:
                first = ", ".join(map(str, files[:_NAMED])) + (", ..." if len(files) > _NAMED else "")
                complain(f"passed over: {count(len(files), name)} {said}: {first}")
        if self.undrawn:
            complain(
                f"hint: {count(self.undrawn, 'image')} without an overlay, as said above; its probabilities hold"
            )
        if self.failed:
            more = "; ".join(self.hints) or "cxr reads PNG, JPEG, TIFF and DICOM"
            complain(f"hint: {self.failed:,} of {count(self.total, 'image')} not read, as said above; {more}")


def predict_files(
    run: Path,
    images: Sequence[Path],
    form: str,
    heatmaps: Path | None,
    head_findings: str | None = None,
    device_name: str = "auto",
) -> tuple[int, int]:
    """Print the probabilities of every image; returns (how many failed, how many there were).

    Args:
        run: Run folder, checkpoint file, `xrv:NAME` or a file of weights; thresholds of the last two are 0.5.
        images: Files, or folders of them; what is no image in a folder is counted and passed over.
        form: table, json (an object a line and an image) or csv (`image`, `p_<finding>`, `warning`).
        heatmaps: Folder for an overlay of each finding above its threshold, or of the likeliest where none is.
        head_findings: What the outputs of a file of weights are: a group or names with commas between.
        device_name: As the key `device`.

    An overlay holds its image's path as a hash: it replaces what an earlier run drew of the same image, and no other
    file.

    Raises:
        CxrError: The checkpoint cannot be loaded, or an overlay cannot be written.
    """
    if heatmaps is not None and exists(heatmaps) and not is_folder(heatmaps):
        raise CxrError(f"--heatmaps {heatmaps}: is a file", "name a folder for the overlays")
    device = choose_device(device_name)
    checkpoint = open_any(str(run), device, head_findings)
    for note in [] if is_guest(run) else note_other_reports(run, checkpoint):
        warn(note)
    if heatmaps is not None:
        _make_folder(heatmaps)
    writer = WRITERS[form](checkpoint)
    account, names, batch = _Account(), OverlayNames(heatmaps), list[Square]()
    how = checkpoint.metadata.preprocess
    for found, is_asked_for, square in map_ahead(
        lambda one: (*one, _try_to_read(one[0], how)), _find(images, heatmaps)
    ):
        if isinstance(square, Square):
            account.total += 1
            batch.append(square)
        else:
            _account_for(found, is_asked_for, square, writer, account)
        if len(batch) == _BATCH:
            _predict_batch(checkpoint, batch, writer, names, account)
            batch = []
    if batch:
        _predict_batch(checkpoint, batch, writer, names, account)
    writer.finish()
    account.finish()
    return account.failed + account.undrawn, account.total


def _make_folder(folder: Path) -> None:
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)


def _find(images: Sequence[Path], overlays: Path | None) -> Iterator[tuple[Found, bool]]:
    """What is named or found in a folder, and whether it was named; a folder without an image is one itself.

    What was found in one folder is found `again` in the next, and where it is named by the same path.
    """
    seen, paths = set[Identity](), set[str]()
    for image in images:
        if not _is_folder(image):
            is_again = os.path.abspath(image) in paths
            yield Found(image, "again" if is_again else "image"), True
            paths.add(os.path.abspath(image))
            with suppress(OSError):  # reading it says why
                seen.add((image.stat().st_dev, image.stat().st_ino))
            continue
        has_images = False
        for found in find_images(image, seen, overlays):
            has_images |= found.kind in ("image", "unreadable", "again")
            if found.kind in ("image", "unreadable"):
                paths.add(os.path.abspath(found.path))
            yield found, False
        if not has_images:
            yield Found(image, "unreadable", "no image file in this folder"), True


def _is_folder(path: Path) -> bool:
    try:
        return is_folder(path)
    except CxrError:  # reading it says why
        return False


def _try_to_read(found: Found, how: Preprocess) -> Square | CxrError | None:
    """The square of an image, or why it cannot be read; None of a file that is passed over.

    Raises:
        UnavailableFileError: No memory. Nothing is known of the image then, and the next ones would fare no better.
    """
    if found.kind in _PASSED_OVER:
        return None
    notes = list[str]()
    try:
        if found.kind == "unreadable":
            return UnreadableImageError(found.path, found.reason)
        return Square(found.path, prepare(read_file(found.path, how.intensity, notes.append), how), notes)
    except CxrError as error:
        return error
    except MemoryError as error:
        raise UnavailableFileError(found.path, error) from None


def _account_for(
    found: Found, is_asked_for: bool, error: CxrError | None, writer: Writer, account: _Account
) -> None:
    """Count a file that gave no square, and say why where it could be an image."""
    if error is None:
        account.passed[found.kind].append(found.path)
    elif (
        isinstance(error, NoImageError) and not is_asked_for
    ):  # the index of a CD or a report among the images
        account.passed["other"].append(found.path)
    else:
        account.total += 1
        account.fail(error)
        reason = (
            error.reason
            if isinstance(error, UnreadableImageError | UnavailableFileError)
            else error.problems[0]
        )
        writer.fail(found.path, reason)


def _predict_batch(
    checkpoint: Checkpoint, batch: Sequence[Square], writer: Writer, names: OverlayNames, account: _Account
) -> None:
    squares = torch.from_numpy(np.stack([one.pixels for one in batch]))
    probabilities, features = predict_squares(checkpoint, squares)
    scores = _scores(checkpoint, features, squares)
    for one, row, feature, score in zip(batch, probabilities.tolist(), features, scores, strict=True):
        overlays = _try_to_draw(checkpoint, one.file, row, feature, names, account) if names.folder else {}
        writer.write(one, row, score, overlays)


def _try_to_draw(
    checkpoint: Checkpoint,
    file: Path,
    row: Sequence[float],
    feature: torch.Tensor,
    names: OverlayNames,
    account: _Account,
) -> Overlays:
    """The overlay of each finding that is shown; what hinders drawing costs this image's overlays alone."""
    try:
        return _draw(checkpoint, file, row, feature, names)
    except UnreadableImageError as error:  # it was changed or taken away in between
        account.fail_to_draw(file, error.reason)
    except (cv2.error, MemoryError):
        account.fail_to_draw(file, "it takes more memory than there is, or cannot be drawn")
    return {}


def _draw(
    checkpoint: Checkpoint, file: Path, row: Sequence[float], feature: torch.Tensor, names: OverlayNames
) -> Overlays:
    """Write an overlay of each finding that is shown, and remove those that an earlier run drew of other findings."""
    how = checkpoint.metadata.preprocess
    grey, drawn = read_file(file, how.intensity), Overlays()
    for finding in _shown(row, checkpoint):
        name = checkpoint.metadata.findings[finding]
        cam = activation_map(checkpoint.classifier, feature, finding)
        picture = overlay(grey, cam, how, f"{name} {row[finding]:.3f}  {DISCLAIMER}")
        path, said = names.choose(file, name)
        write_bytes(path, encode_png(picture, said))
        drawn[name] = path
    names.drop_old(file, drawn.values())
    return drawn


def _scores(checkpoint: Checkpoint, features: torch.Tensor, squares: torch.Tensor) -> list[float | None]:
    """How unlike the images of training each is; None where the checkpoint cannot tell."""
    if checkpoint.familiarity is None:
        return [None] * len(squares)
    values = familiarity_values(features, squares).cpu().numpy()
    return list(checkpoint.familiarity.score(values.astype(np.float64)).tolist())


def _shown(row: Sequence[float], checkpoint: Checkpoint) -> list[int]:
    above = [
        place for place, (p, at) in enumerate(zip(row, checkpoint.thresholds.values, strict=True)) if p >= at
    ]
    return above or [int(np.argmax(row))]
