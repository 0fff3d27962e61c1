"""Image files -> probabilities on stdout: one by one, so that a bad file costs only itself."""

import csv
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.table import Table
from rich.text import Text

from cxr.console import count, out, warn
from cxr.data.image import Grey, UnreadableImageError, prepare, read_file
from cxr.errors import UnavailableFileError
from cxr.evaluation.report import DISCLAIMER
from cxr.evaluation.thresholds import origin
from cxr.explain.cam import activation_map, encode_png, overlay
from cxr.files import clear_leftovers, write_bytes
from cxr.model import checkpoint as checkpoints
from cxr.model import xrv
from cxr.model.checkpoint import Checkpoint
from cxr.model.familiarity import ENOUGH_IMAGES
from cxr.model.predict import familiarity_values, predict_squares
from cxr.model.pretrained import open_alone
from cxr.model.provenance import note_other_reports

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm", ".dicom")
"""What is taken from a folder."""

_BATCH = 32
_USUAL_REASONS = (
    "Usual reasons for the warning: no chest X-ray at all, another body part, a lateral view, an inverted or turned "
    "image, another hospital's processing. No warning does not mean that the image is suitable."
)


def predict_files(run: Path, images: Sequence[Path], form: str, heatmaps: Path | None) -> tuple[int, int]:
    """Print the probabilities of every image; returns (how many could not be read, how many there were).

    Args:
        run: Run folder, checkpoint file, or `xrv:NAME`, whose thresholds are 0.5 throughout.
        images: Files, or folders of them.
        form: table, json (an object a line and an image) or csv (`image`, `p_<finding>`, `warning`).
        heatmaps: Folder for an overlay of each finding above its threshold, or of the likeliest where none is.

    Raises:
        CxrError: The checkpoint cannot be loaded, or an overlay cannot be written.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoint = open_alone(str(run), device) if xrv.is_named(run) else checkpoints.load(run, device)
    for note in [] if xrv.is_named(run) else note_other_reports(run, checkpoint):
        warn(note)
    if heatmaps is not None:
        clear_leftovers(heatmaps)
    writer = {"table": _TableWriter, "json": _JsonWriter, "csv": _CsvWriter}[form](checkpoint)
    failed = total = 0
    names = _Names(heatmaps)
    for files in _batches(list(_find(images))):
        read: list[tuple[Path, Grey]] = []
        for file in files:
            total += 1
            try:
                if file.is_dir():
                    raise UnreadableImageError(file, f"no {', '.join(SUFFIXES)} file in this folder")
                read.append((file, read_file(file, checkpoint.metadata.preprocess.intensity)))
            except (UnreadableImageError, UnavailableFileError) as error:
                failed += 1
                print(f"error: {error}", file=sys.stderr)
                writer.fail(file, error.reason)
            except MemoryError as error:
                raise UnavailableFileError(file, error) from None
        if read:
            _predict_batch(checkpoint, read, writer, names)
    writer.finish()
    if failed:
        print(
            f"hint: {failed:,} of {count(total, 'image')} not read, as said above; cxr reads PNG, JPEG, TIFF and DICOM",
            file=sys.stderr,
        )
    return failed, total


def _find(images: Sequence[Path]) -> Iterator[Path]:
    for image in images:
        if image.is_dir():
            inside = sorted(path for path in image.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            yield from inside or [image]
        else:
            yield image


def _batches(files: list[Path]) -> Iterator[list[Path]]:
    return (files[start : start + _BATCH] for start in range(0, len(files), _BATCH))


def _predict_batch(checkpoint: Checkpoint, read: list[tuple[Path, Grey]], writer: "_Writer", names: "_Names") -> None:
    how = checkpoint.metadata.preprocess
    squares = torch.from_numpy(np.stack([prepare(grey, how) for _, grey in read]))
    probabilities, features = predict_squares(checkpoint, squares)
    scores = _scores(checkpoint, features, squares)
    for (file, grey), row, feature, score in zip(read, probabilities.tolist(), features, scores, strict=True):
        writer.write(file, row, score)
        for finding in _shown(row, checkpoint) if names.folder else ():
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


class _Names:
    """File names of overlays, `<image>_<finding>.png`, numbered where two images share a name."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._owners: dict[str, Path] = {}

    def choose(self, file: Path, finding: str) -> Path:
        assert self.folder is not None
        stem, number = file.stem, 2
        while self._owners.setdefault(stem, file) != file:
            stem, number = f"{file.stem}-{number}", number + 1
        return self.folder / (stem + "_" + re.sub(r"\W+", "_", finding) + ".png")


class _Writer:
    """Prints a row an image."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.findings, self.thresholds = checkpoint.metadata.findings, checkpoint.thresholds
        self.measured = checkpoint.familiarity.measured if checkpoint.familiarity else None

    def write(self, file: Path, row: Sequence[float], score: float | None) -> None:
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
    def write(self, file: Path, row: Sequence[float], score: float | None) -> None:
        values = dict(zip(self.findings, row, strict=True))
        points = dict(zip(self.findings, self.thresholds.values, strict=True))
        above = [finding for finding, p in values.items() if p >= points[finding]]
        familiar: dict[str, float | bool] | None = None
        if score is not None and self.measured is not None:
            familiar = {"score": score, "limit": self.measured.limit, "warning": bool(self.warning(score))}
        print(
            json.dumps(
                {
                    "image": str(file),
                    "probabilities": values,
                    "thresholds": points,
                    "above": above,
                    "familiarity": familiar,
                }
            )
        )

    def fail(self, file: Path, reason: str) -> None:
        print(json.dumps({"image": str(file), "error": reason}))


class _CsvWriter(_Writer):
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._csv.writerow(["image", *(f"p_{finding}" for finding in self.findings), "warning"])

    def write(self, file: Path, row: Sequence[float], score: float | None) -> None:
        self._csv.writerow([str(file), *row, self.warning(score)])


class _TableWriter(_Writer):
    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self._console = out()
        self._num_warned = 0

    def write(self, file: Path, row: Sequence[float], score: float | None) -> None:
        table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False, header_style="bold")
        table.add_column("Finding", no_wrap=True)
        for heading in ("Probability", "Threshold", ""):
            table.add_column(heading, justify="right" if heading else "left")
        for place in sorted(range(len(row)), key=lambda place: -row[place]):
            above = row[place] >= self.thresholds.values[place]
            cells = (self.findings[place], f"{row[place]:.3f}", f"{self.thresholds.values[place]:.3f}")
            style = "bold" if above else ""
            table.add_row(*(Text(cell, style=style) for cell in cells), Text("above" if above else "", style="bold"))
        self._console.print(Text(str(file), style="bold"), soft_wrap=True)
        warning = self.warning(score)
        if warning:
            self._num_warned += 1
            self._console.print(Text(f"Warning: {warning}", style="bold yellow"), soft_wrap=True)
        self._console.print(table, "")

    def finish(self) -> None:
        if self._num_warned:
            self._console.print(_USUAL_REASONS, markup=False, soft_wrap=True)
            self._console.print(f"The warning is {self.measured}.", markup=False, soft_wrap=True)
        elif self.measured and self.measured.num_images < ENOUGH_IMAGES:
            few = f"only {self.measured.num_images:,} validation images were there to learn from"
            what = f"No warning, but an image unlike those of training may go unnoticed: {few}."
            self._console.print(what, markup=False, soft_wrap=True)
        self._console.print(f"Thresholds: {origin(self.thresholds)}. {DISCLAIMER}", markup=False, soft_wrap=True)
