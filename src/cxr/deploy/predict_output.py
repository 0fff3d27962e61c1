"""How predictions are written: as tables, as JSON or as CSV, one image after the other (no torch)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from cxr.console import line, out
from cxr.deploy.runtime import Facts, Square
from cxr.evaluation.recalibration import Recalibration
from cxr.evaluation.thresholds import MIN_POSITIVE, origin
from cxr.model.ood import ENOUGH_IMAGES, MeasuredLimit
from cxr.report.document import Cell, Estimate, Table
from cxr.report.terminal import render
from cxr.text import DISCLAIMER, csv_line

Overlays = dict[str, Path]
"""Where the overlay of each finding is."""


class Drawn(NamedTuple):
    """The files that were written of an image: overlays, the sheet of all of them, DICOM results."""

    overlays: Overlays
    sheet: Path | None = None
    dicom: Sequence[Path] = ()


_USUAL_REASONS = (
    "Usual reasons for the warning: no chest X-ray at all, another body part, a lateral view, an inverted or "
    "turned image, another hospital's processing. No warning does not mean that the image is suitable."
)


def describe_warning(score: float | None, measured: MeasuredLimit | None) -> str:
    """The warning about an out-of-distribution image; empty for others, or if there is no detector."""
    if score is None or measured is None or score <= measured.limit:
        return ""
    return (
        f"out of distribution: score {score:.2f} above {measured.limit:.2f}; "
        "this may not be a chest X-ray like those of training"
    )


class Writer:
    """Writes the predictions of one image after the other.

    Args:
        facts: Of the model; with a recalibration its thresholds are calibrated already.
        recalibration: How probabilities are calibrated; None leaves them as they are.
    """

    def __init__(self, facts: Facts, recalibration: Recalibration | None = None) -> None:
        self.findings, self.thresholds = facts.findings, facts.thresholds
        self.recalibration = recalibration
        self.measured = facts.measured

    def write(self, image: Square, row: Sequence[float], score: float | None, drawn: Drawn) -> None:
        """Write an image, its probabilities, its warning and its notes."""
        raise NotImplementedError

    def calibrate(self, row: Sequence[float]) -> list[float]:
        """The probabilities of an image as they are written."""
        if self.recalibration is None:
            return list(row)
        calibrated: list[float] = self.recalibration.apply(np.array(row)).tolist()
        return calibrated

    @property
    def not_calibrated(self) -> list[str]:
        """Findings whose probabilities stay the model's own although calibrated ones were asked for."""
        if self.recalibration is None:
            return []
        pairs = zip(self.findings, self.recalibration.is_fitted, strict=True)
        return [finding for finding, is_fitted in pairs if not is_fitted]

    def mark(self, finding: str) -> str:
        """A star where the finding's threshold was chosen on few positive images."""
        return "*" if finding in self.thresholds.few_positives else ""

    def warning(self, score: float | None) -> str:
        """As `describe_warning`."""
        return describe_warning(score, self.measured)

    def fail(self, file: Path, reason: str) -> None:
        """An image that was not read."""

    def finish(self) -> None:
        """After the last image."""


class JsonWriter(Writer):
    """One JSON object per line and image."""

    def __init__(self, facts: Facts, recalibration: Recalibration | None, file: TextIO) -> None:
        super().__init__(facts, recalibration)
        self._file = file

    def write(  # noqa: D102 - as of Writer
        self, image: Square, row: Sequence[float], score: float | None, drawn: Drawn
    ) -> None:
        values = dict(zip(self.findings, row, strict=True))
        points = dict(zip(self.findings, self.thresholds.values, strict=True))
        above = [finding for finding, p in values.items() if p >= points[finding]]
        distance: dict[str, float | bool] | None = None
        if score is not None and self.measured is not None:
            distance = {"score": score, "limit": self.measured.limit, "warning": bool(self.warning(score))}
        calibration = {} if self.recalibration is None else {"not_calibrated": self.not_calibrated}
        self._write_line(
            {
                "image": str(image.file),
                "probabilities": values,
                "thresholds": points,
                "above": above,
                "out_of_distribution": distance,
                "familiarity": distance,  # its first name, for older readers
                "notes": image.notes,
                "overlays": {finding: str(path) for finding, path in drawn.overlays.items()},
                "sheet": drawn.sheet and str(drawn.sheet),
                "dicom": [str(path) for path in drawn.dicom],
                "few_positives": self.thresholds.few_positives,
                **calibration,
            }
        )

    def fail(self, file: Path, reason: str) -> None:  # noqa: D102
        self._write_line({"image": str(file), "error": reason})

    def _write_line(self, values: dict[str, object]) -> None:
        self._file.write(json.dumps(values) + "\n")


class CsvWriter(Writer):
    """One row per image, none for an image that was not read."""

    def __init__(self, facts: Facts, recalibration: Recalibration | None, file: TextIO) -> None:
        super().__init__(facts, recalibration)
        self._file = file
        columns = ["image", *(f"p_{finding}" for finding in self.findings), "warning", "few_positives"]
        self._file.write(csv_line([*columns, *(["not_calibrated"] if recalibration else [])]))

    def write(  # noqa: D102 - as of Writer
        self, image: Square, row: Sequence[float], score: float | None, drawn: Drawn
    ) -> None:
        notes = "; ".join(text for text in (self.warning(score), *image.notes) if text)
        calibration = ["; ".join(self.not_calibrated)] if self.recalibration else []
        few = "; ".join(self.thresholds.few)
        self._file.write(csv_line([str(image.file), *row, notes, few, *calibration]))


class TableWriter(Writer):
    """One table per image, for people."""

    def __init__(self, facts: Facts, recalibration: Recalibration | None = None) -> None:
        super().__init__(facts, recalibration)
        self._console = out()
        self._num_images = self._num_warned = 0

    def write(  # noqa: D102 - as of Writer
        self, image: Square, row: Sequence[float], score: float | None, drawn: Drawn
    ) -> None:
        self._num_images += 1
        self._console.print(line(str(image.file), style="bold"), soft_wrap=True)
        warning = self.warning(score)
        if warning:
            self._num_warned += 1
            self._console.print(line(f"Warning: {warning}", style="bold yellow"), soft_wrap=True)
        for note in image.notes:
            self._console.print(line(f"Note: {note}", style="bold yellow"), soft_wrap=True)
        for path in drawn.overlays.values():
            self._console.print(line(f"Overlay: {path}"), soft_wrap=True)
        if drawn.sheet:
            self._console.print(line(f"Sheet: {drawn.sheet}"), soft_wrap=True)
        for path in drawn.dicom:
            self._console.print(line(f"DICOM: {path}"), soft_wrap=True)
        self._console.print(render(self._table(row)), "")

    def _table(self, row: Sequence[float]) -> Table:
        """The findings, the most probable first; those above their threshold are bold."""
        rows: list[tuple[Cell, ...]] = []
        above = []
        for place, c in enumerate(sorted(range(len(row)), key=lambda c: -row[c])):
            threshold = self.thresholds.values[c]
            if row[c] >= threshold:
                above.append(place)
            word = "above" if row[c] >= threshold else ""
            note = "not calibrated" if self.findings[c] in self.not_calibrated else ""
            mark = self.mark(self.findings[c])
            rows.append((self.findings[c], Estimate(row[c], note=note), Estimate(threshold, mark=mark), word))
        columns = ("Finding", "Calibrated" if self.recalibration else "Probability", "Threshold", "")
        return Table("", columns, tuple(rows), "lrrr", bold=tuple(above))

    def finish(self) -> None:  # noqa: D102
        if not self._num_images:
            return
        if self._num_warned:
            self._console.print(_USUAL_REASONS, soft_wrap=True)
            self._console.print(f"The warning is {self.measured}.", soft_wrap=True)
        elif self.measured and self.measured.num_images < ENOUGH_IMAGES:
            few = f"only {self.measured.num_images:,} validation images were there to learn from"
            what = f"No warning, but an out-of-distribution image may be missed: {few}."
            self._console.print(what, soft_wrap=True)
        if self.recalibration:
            fitted = f"intercept and slope fitted on {self.recalibration.fitted_on}"
            text = f"Probabilities and thresholds are calibrated: {fitted}."
            self._console.print(text, soft_wrap=True)
        weakly_chosen = self.thresholds.few
        weak = ""
        if weakly_chosen:
            weak = f" * Chosen on fewer than {MIN_POSITIVE} positive images: {', '.join(weakly_chosen)}."
        self._console.print(f"Thresholds: {origin(self.thresholds)}.{weak} {DISCLAIMER}", soft_wrap=True)


class WideWriter(TableWriter):
    """One line per image: the findings above their threshold, or else the most probable one."""

    def write(  # noqa: D102 - as of Writer
        self, image: Square, row: Sequence[float], score: float | None, drawn: Drawn
    ) -> None:
        self._num_images += 1
        order = sorted(range(len(row)), key=lambda c: -row[c])
        above = [
            f"{self.findings[c]}{self.mark(self.findings[c])} {row[c]:.3f}"
            for c in order
            if row[c] >= self.thresholds.values[c]
        ]
        likeliest = f"none above its threshold; most probable {self.findings[order[0]]} {row[order[0]]:.3f}"
        is_warned = bool(self.warning(score))
        self._num_warned += is_warned
        notes = ["OUT OF DISTRIBUTION"] * is_warned + image.notes
        text = "  ".join([str(image.file), ", ".join(above) or likeliest, *notes])
        self._console.print(line(text, style="bold yellow" if notes else ""), soft_wrap=True)
