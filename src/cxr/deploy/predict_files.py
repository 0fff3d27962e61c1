"""Image files -> probabilities on stdout: one by one, so that a bad file costs only itself."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from cxr.console import count, line, out, warn
from cxr.data.find_images import Found, find_images
from cxr.data.image import Grey, prepare, read_file
from cxr.deploy.overlay_names import OverlayNames
from cxr.errors import CxrError, NoImageError, UnavailableFileError, UnreadableImageError
from cxr.evaluation.report import DISCLAIMER
from cxr.evaluation.thresholds import origin
from cxr.explain.cam import activation_map, encode_png, overlay
from cxr.files import clear_leftovers, write_bytes
from cxr.model.checkpoint import Checkpoint
from cxr.model.familiarity import ENOUGH_IMAGES
from cxr.model.predict import familiarity_values, predict_squares
from cxr.model.pretrained import is_guest, open_any
from cxr.model.provenance import note_other_reports
from cxr.paths import is_folder
from cxr.streams import complain, exact_stdout
from cxr.tables import Table
from cxr.text import csv_line

_BATCH = 32
_NAMED = 5
_USUAL_REASONS = (
    "Usual reasons for the warning: no chest X-ray at all, another body part, a lateral view, an inverted or turned "
    "image, another hospital's processing. No warning does not mean that the image is suitable."
)


@dataclass(frozen=True)
class _Square:
    """An image as the model sees it; its own pixels are read again for an overlay, as 32 of them may be 3 GB."""

    file: Path
    pixels: Grey
    notes: list[str]


@dataclass
class _Account:
    """What became of the files."""

    total: int = 0
    failed: int = 0
    others: list[Path] = field(default_factory=list)
    again: list[Path] = field(default_factory=list)
    hints: dict[str, None] = field(default_factory=dict)

    def fail(self, error: CxrError) -> None:
        """Say why an image is not read."""
        self.failed += 1
        for problem in error.problems:
            complain(f"error: {problem}")
        if not isinstance(error, UnreadableImageError):  # pydicom is not installed, say
            self.hints[error.hint] = None

    def finish(self) -> None:
        """Say how many were not read and what was passed over."""
        for files, what in ((self.others, "without an image"), (self.again, "found before under another name")):
            if files:
                first = ", ".join(map(str, files[:_NAMED])) + (", ..." if len(files) > _NAMED else "")
                complain(f"passed over: {count(len(files), 'file')} {what}: {first}")
        if self.failed:
            more = "; ".join(self.hints) or "cxr reads PNG, JPEG, TIFF and DICOM"
            complain(f"hint: {self.failed:,} of {count(self.total, 'image')} not read, as said above; {more}")


def predict_files(
    run: Path, images: Sequence[Path], form: str, heatmaps: Path | None, head_findings: str | None = None
) -> tuple[int, int]:
    """Print the probabilities of every image; returns (how many could not be read, how many there were).

    Args:
        run: Run folder, checkpoint file, `xrv:NAME` or a file of weights; thresholds of the last two are 0.5.
        images: Files, or folders of them; what is no image in a folder is counted and passed over.
        form: table, json (an object a line and an image) or csv (`image`, `p_<finding>`, `warning`).
        heatmaps: Folder for an overlay of each finding above its threshold, or of the likeliest where none is.
        head_findings: What the outputs of a file of weights are: a group or names with commas between.

    Raises:
        CxrError: The checkpoint cannot be loaded, or an overlay cannot be written.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = open_any(str(run), device, head_findings)
    for note in [] if is_guest(run) else note_other_reports(run, checkpoint):
        warn(note)
    if heatmaps is not None:
        clear_leftovers(heatmaps)
    writer = {"table": _TableWriter, "json": _JsonWriter, "csv": _CsvWriter}[form](checkpoint)
    account, names, batch = _Account(), OverlayNames(heatmaps), list[_Square]()
    for found, is_asked_for in _find(images):
        square = _read(found, is_asked_for, checkpoint, writer, account)
        batch += [square] if square else []
        if len(batch) == _BATCH:
            _predict_batch(checkpoint, batch, writer, names, account)
            batch = []
    if batch:
        _predict_batch(checkpoint, batch, writer, names, account)
    writer.finish()
    account.finish()
    return account.failed, account.total


def _find(images: Sequence[Path]) -> Iterator[tuple[Found, bool]]:
    """What is named or found in a folder, and whether it was named; a folder without an image is one itself."""
    for image in images:
        if not _is_folder(image):
            yield Found(image, "image"), True
            continue
        has_images = False
        for found in find_images(image):
            has_images |= found.what in ("image", "unreadable")
            yield found, False
        if not has_images:
            yield Found(image, "unreadable", "no image file in this folder"), True


def _is_folder(path: Path) -> bool:
    try:
        return is_folder(path)
    except CxrError:  # reading it says why
        return False


def _read(
    found: Found, is_asked_for: bool, checkpoint: Checkpoint, writer: "_Writer", account: _Account
) -> _Square | None:
    """The square of an image; None of a file that is none or that cannot be read, which is then accounted for."""
    if found.what in ("other", "again"):
        (account.others if found.what == "other" else account.again).append(found.path)
        return None
    how, notes = checkpoint.metadata.preprocess, list[str]()
    try:
        if found.what == "unreadable":
            raise UnreadableImageError(found.path, found.reason)
        pixels = prepare(read_file(found.path, how.intensity, notes.append), how)
    except CxrError as error:
        if isinstance(error, NoImageError) and not is_asked_for:  # the index of a CD or a report among the images
            account.others.append(found.path)
            return None
        account.total += 1
        account.fail(error)
        reason = error.reason if isinstance(error, UnreadableImageError | UnavailableFileError) else error.problems[0]
        writer.fail(found.path, reason)
        return None
    except MemoryError as error:  # nothing is known of the image, and the next ones would fare no better
        raise UnavailableFileError(found.path, error) from None
    account.total += 1
    return _Square(found.path, pixels, notes)


def _predict_batch(
    checkpoint: Checkpoint, batch: Sequence[_Square], writer: "_Writer", names: OverlayNames, account: _Account
) -> None:
    squares = torch.from_numpy(np.stack([one.pixels for one in batch]))
    probabilities, features = predict_squares(checkpoint, squares)
    scores = _scores(checkpoint, features, squares)
    for one, row, feature, score in zip(batch, probabilities.tolist(), features, scores, strict=True):
        writer.write(one, row, score)
        if names.folder:
            try:
                _draw(checkpoint, one.file, row, feature, names)
            except UnreadableImageError as error:  # it was changed or taken away in between
                account.fail(error)


def _draw(checkpoint: Checkpoint, file: Path, row: Sequence[float], feature: torch.Tensor, names: OverlayNames) -> None:
    """Write an overlay of each finding that is shown."""
    how = checkpoint.metadata.preprocess
    grey = read_file(file, how.intensity)
    for finding in _shown(row, checkpoint):
        name = checkpoint.metadata.findings[finding]
        cam = activation_map(checkpoint.classifier, feature, finding)
        picture = overlay(grey, cam, how, f"{name} {row[finding]:.3f}  {DISCLAIMER}")
        write_bytes(names.choose(file, name), encode_png(picture))


def _scores(checkpoint: Checkpoint, features: torch.Tensor, squares: torch.Tensor) -> list[float | None]:
    """How unlike the images of training each is; None where the checkpoint cannot tell."""
    if checkpoint.familiarity is None:
        return [None] * len(squares)
    values = familiarity_values(features, squares).cpu().numpy()
    return list(checkpoint.familiarity.score(values.astype(np.float64)).tolist())


def _shown(row: Sequence[float], checkpoint: Checkpoint) -> list[int]:
    above = [place for place, (p, at) in enumerate(zip(row, checkpoint.thresholds.values, strict=True)) if p >= at]
    return above or [int(np.argmax(row))]


class _Writer:
    """Prints a row an image."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.findings, self.thresholds = checkpoint.metadata.findings, checkpoint.thresholds
        self.measured = checkpoint.familiarity.measured if checkpoint.familiarity else None

    def write(self, image: _Square, row: Sequence[float], score: float | None) -> None:
        raise NotImplementedError

    def warning(self, score: float | None) -> str:
        """What to say of an image unlike those of training; nothing of others, or where nothing is known."""
        if score is None or self.measured is None or score <= self.measured.limit:
            return ""
        return f"unlike the images it was trained on (score {score:.2f}, limit {self.measured.limit:.2f})"

    def fail(self, file: Path, reason: str) -> None:
        """An image that was not read."""

    def finish(self) -> None:
        """After the last image."""


class _JsonWriter(_Writer):
    def write(self, image: _Square, row: Sequence[float], score: float | None) -> None:
        values = dict(zip(self.findings, row, strict=True))
        points = dict(zip(self.findings, self.thresholds.values, strict=True))
        above = [finding for finding, p in values.items() if p >= points[finding]]
        familiar: dict[str, float | bool] | None = None
        if score is not None and self.measured is not None:
            familiar = {"score": score, "limit": self.measured.limit, "warning": bool(self.warning(score))}
        print(
            json.dumps(
                {
                    "image": str(image.file),
                    "probabilities": values,
                    "thresholds": points,
                    "above": above,
                    "familiarity": familiar,
                    "notes": image.notes,
                }
            )
        )

    def fail(self, file: Path, reason: str) -> None:
        print(json.dumps({"image": str(file), "error": reason}))


class _CsvWriter(_Writer):
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self._file = exact_stdout()
        self._file.write(csv_line(["image", *(f"p_{finding}" for finding in self.findings), "warning"]))

    def write(self, image: _Square, row: Sequence[float], score: float | None) -> None:
        said = "; ".join(text for text in (self.warning(score), *image.notes) if text)
        self._file.write(csv_line([str(image.file), *row, said]))


class _TableWriter(_Writer):
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self._console = out()
        self._num_warned = 0

    def write(self, image: _Square, row: Sequence[float], score: float | None) -> None:
        table = Table(["Finding", "Probability", "Threshold", ""])
        for place in sorted(range(len(row)), key=lambda place: -row[place]):
            above = row[place] >= self.thresholds.values[place]
            cells = (self.findings[place], f"{row[place]:.3f}", f"{self.thresholds.values[place]:.3f}")
            table.add([*cells, "above" if above else ""], style="bold" if above else "")
        self._console.print(line(str(image.file), style="bold"), soft_wrap=True)
        warning = self.warning(score)
        if warning:
            self._num_warned += 1
            self._console.print(line(f"Warning: {warning}", style="bold yellow"), soft_wrap=True)
        for note in image.notes:
            self._console.print(line(f"Note: {note}", style="bold yellow"), soft_wrap=True)
        self._console.print(table, "")

    def finish(self) -> None:
        if self._num_warned:
            self._console.print(_USUAL_REASONS, soft_wrap=True)
            self._console.print(f"The warning is {self.measured}.", soft_wrap=True)
        elif self.measured and self.measured.num_images < ENOUGH_IMAGES:
            few = f"only {self.measured.num_images:,} validation images were there to learn from"
            what = f"No warning, but an image unlike those of training may go unnoticed: {few}."
            self._console.print(what, soft_wrap=True)
        self._console.print(f"Thresholds: {origin(self.thresholds)}. {DISCLAIMER}", soft_wrap=True)
