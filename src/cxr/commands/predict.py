"""cxr predict: probabilities of image files; an image that cannot be read stops no other."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from cxr.console import count, warn
from cxr.deploy.calibrated import calibrate_thresholds
from cxr.deploy.open_runtime import open_runtime
from cxr.deploy.overlay_names import OverlayNames
from cxr.deploy.overlays import CannotDrawError, Drawing, choose_findings, draw_overlays
from cxr.deploy.predict_files import Input, find_inputs, try_to_read
from cxr.deploy.predict_output import CsvWriter, Drawn, JsonWriter, TableWriter, WideWriter, Writer
from cxr.deploy.runtime import BATCH_SIZE, Facts, Predicted, Runtime, Square, predict_batch
from cxr.errors import CxrError, NoImageError, UnavailableFileError, UnreadableImageError
from cxr.files import clear_leftovers, explain_os_errors, write_atomically
from cxr.parallel import map_ahead
from cxr.paths import exists, is_folder
from cxr.streams import complain, exact_stdout, show

_NUM_NAMED = 20
_SKIPPED = {
    "other": ("file", "without an image"),
    "again": ("file", "found before under another name"),
    "above": ("link", "to a folder that holds this one"),
    "overlay": ("overlay", "that cxr drew"),
    "folder": ("folder", "for overlays"),
}
"""Words for files that are passed over, by the reason that `find_inputs` gives."""


@dataclass(frozen=True)
class Output:
    """In which form predictions are written, and where to.

    Attributes:
        format: table, json (one object per line and image) or csv (`image`, `p_<finding>`, `warning`); None
            takes that of the file's ending, and the table on stdout.
        path: A file that is written whole or not at all; None is stdout.
        wide: A table with one line per image.
        calibrated: Whether probabilities and thresholds are calibrated.
    """

    format: str | None = None
    path: Path | None = None
    wide: bool = False
    calibrated: bool = False


@dataclass(frozen=True)
class Heatmaps:
    """What is drawn, and where to.

    Attributes:
        folder: For the overlays; None draws nothing.
        findings: Names with commas between; None takes those above their threshold, or else the likeliest.
        every: Whether every finding is drawn.
        with_maps: Whether maps are written as .npy files too.
    """

    folder: Path | None = None
    findings: str | None = None
    every: bool = False
    with_maps: bool = False

    def check(self) -> None:
        """Refuse options of overlays without a folder for them, and a file in its place.

        Raises:
            CxrError: With each such option.
        """
        if self.folder is not None and exists(self.folder) and not is_folder(self.folder):
            raise CxrError(f"--heatmaps {self.folder}: is a file", "name a folder for the overlays")
        options = {"--findings": self.findings is not None, "--all": self.every, "--maps": self.with_maps}
        given = [f"{name}: is for overlays" for name, is_given in options.items() if is_given]
        if given and self.folder is None:
            raise CxrError(given, "name a folder for the overlays with --heatmaps FOLDER")


@dataclass
class Outcome:
    """What became of the files: counts, and what is left to say at the end."""

    num_images: int = 0
    num_failed: int = 0
    num_undrawn: int = 0
    num_warned: int = 0
    skipped: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    hints: dict[str, None] = field(default_factory=dict)

    def fail(self, error: CxrError) -> None:
        """Count an image that is not read, and say why."""
        self.num_failed += 1
        for problem in error.problems:
            complain(f"error: {problem}")
        if not isinstance(error, UnreadableImageError):  # pydicom is not installed, for instance
            self.hints[error.hint] = None

    def fail_to_draw(self, file: Path, reason: str) -> None:
        """Count an image that has its probabilities and no overlay, and say why."""
        self.num_undrawn += 1
        complain(f"error: {file}: no overlay: {reason}")

    def finish(self) -> None:
        """Say how many images were not read, and what was passed over."""
        for reason, (name, words) in _SKIPPED.items():
            files = self.skipped[reason]
            if files:
                more = ", ..." if len(files) > _NUM_NAMED else ""
                names = ", ".join(map(str, files[:_NUM_NAMED])) + more
                complain(f"passed over: {count(len(files), name)} {words}: {names}")
        if self.num_undrawn:
            images = count(self.num_undrawn, "image")
            complain(f"hint: {images} without an overlay, for the reasons above; the probabilities are valid")
        if self.num_failed:
            hint = "; ".join(self.hints) or "cxr reads PNG, JPEG, TIFF and DICOM"
            images = f"{self.num_failed:,} of {count(self.num_images, 'image')}"
            complain(f"hint: {images} not read, for the reasons above; {hint}")


def predict(
    run: Path,
    images: Sequence[Path],
    output: Output,
    heatmaps: Heatmaps,
    head_findings: str | None = None,
    device_name: str = "auto",
    program: str | None = None,
) -> Outcome:
    """Write the probabilities of every image.

    Args:
        run: Run folder, checkpoint file, `xrv:NAME`, a weight file or a model.onnx of `cxr export`;
            thresholds of `xrv:NAME` and of a weight file are 0.5.
        images: Files, or folders of them; files in a folder that are no image are counted and passed over.
        output: In which form, and where to.
        heatmaps: What is drawn of each image, and where to.
        head_findings: What the outputs of a weight file are: a group or names with commas between.
        device_name: As the key `device`.
        program: What computes a model.onnx: onnxruntime (as None) or openvino.

    Raises:
        CxrError: The model cannot be loaded, or the output or an overlay cannot be written.
    """
    # 1. the model, before anything is written
    output_format = _choose_format(output)
    heatmaps.check()
    runtime = open_runtime(str(run), device_name, head_findings, program)
    facts, recalibration = runtime.facts, None
    if output.calibrated:
        facts, recalibration = calibrate_thresholds(str(run), facts), facts.recalibration
        if recalibration.unfitted:
            warn(f"the model's own probabilities, not calibrated: {', '.join(recalibration.unfitted)}")
    chosen = choose_findings(heatmaps.findings, heatmaps.every, facts.findings)
    drawing = Drawing(chosen, heatmaps.with_maps)
    if heatmaps.folder is not None:
        with explain_os_errors(heatmaps.folder):
            heatmaps.folder.mkdir(parents=True, exist_ok=True)
        clear_leftovers(heatmaps.folder)

    # 2. the images, into a file or onto stdout
    outcome = Outcome()

    def write(file: TextIO) -> None:
        if output_format == "table":
            writer: Writer = (WideWriter if output.wide else TableWriter)(facts, recalibration)
        else:
            writer = (JsonWriter if output_format == "json" else CsvWriter)(facts, recalibration, file)
        draw = Draw(facts, OverlayNames(heatmaps.folder), drawing, outcome)
        _predict_all(runtime, images, writer, draw, outcome)

    if output.path is None:
        write(exact_stdout())
    else:
        with explain_os_errors(output.path):
            write_atomically(output.path, lambda temporary: _write_file(temporary, write))
        show(f"{count(outcome.num_images - outcome.num_failed, 'image')} in {output.path}")
    outcome.finish()
    return outcome


def _choose_format(output: Output) -> str:
    """table, json or csv: as asked for, else by the ending of the file.

    Raises:
        CxrError: A file that cannot be written, a table into a file, or a wide form of csv or json.
    """
    path = output.path
    by_ending = {".csv": "csv", ".json": "json", ".jsonl": "json"}.get(path.suffix.lower()) if path else None
    chosen = output.format or by_ending or "table"
    if output.wide and chosen != "table":
        raise CxrError(f"--wide: is for the table; {chosen} has one row per image already", "leave it out")
    if path is None:
        return chosen
    if chosen == "table":
        raise CxrError(f"--out {path}: a table is for the terminal", "name a .csv or .jsonl file")
    if is_folder(path):
        raise CxrError(f"--out {path}: is a folder", "name a .csv or .jsonl file")
    if not is_folder(path.absolute().parent):
        raise CxrError(f"--out {path}: there is no folder {path.parent}", "make it first")
    return chosen


def _write_file(path: Path, write: Callable[[TextIO], None]) -> None:
    # names of files are kept byte for byte, as on stdout
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        write(file)


@dataclass(frozen=True)
class Draw:
    """Draws the overlays of an image; where it cannot, the outcome counts it."""

    facts: Facts
    names: OverlayNames
    drawing: Drawing
    outcome: Outcome

    def __call__(self, file: Path, predicted: Predicted) -> Drawn:
        """The files; none without a folder."""
        if self.names.folder is None:
            return {}, None
        try:
            return draw_overlays(self.facts, file, predicted, self.names, self.drawing)
        except CannotDrawError as error:
            self.outcome.fail_to_draw(file, error.reason)
            return {}, None


def _predict_all(
    runtime: Runtime, images: Sequence[Path], writer: Writer, draw: Draw, outcome: Outcome
) -> None:
    """Predict the images in the order found; threads read ahead, batches are predicted and written."""
    preprocess = runtime.facts.preprocess  # of the training, so that the model sees images alike
    batch: list[Square] = []
    inputs = find_inputs(images, draw.names.folder)
    for found, result in map_ahead(lambda found: (found, try_to_read(found, preprocess)), inputs):
        if isinstance(result, Square):
            outcome.num_images += 1
            batch.append(result)
        else:
            _fail_or_skip(found, result, writer, outcome)
        if len(batch) == BATCH_SIZE:
            _predict_and_write(runtime, batch, writer, draw, outcome)
            batch = []
    if batch:
        _predict_and_write(runtime, batch, writer, draw, outcome)
    writer.finish()


def _fail_or_skip(found: Input, error: CxrError | None, writer: Writer, outcome: Outcome) -> None:
    """Count a file that gave no image, and say why where it could have been one."""
    if error is None:
        outcome.skipped[found.kind].append(found.path)
    elif isinstance(error, NoImageError) and not found.is_named:
        # such as the index of a CD, or a report among the images of a folder
        outcome.skipped["other"].append(found.path)
    else:
        outcome.num_images += 1
        outcome.fail(error)
        if isinstance(error, UnreadableImageError | UnavailableFileError):
            writer.fail(found.path, error.reason)  # without the path, which stands beside it
        else:
            writer.fail(found.path, error.problems[0])


def _predict_and_write(
    runtime: Runtime, batch: Sequence[Square], writer: Writer, draw: Draw, outcome: Outcome
) -> None:
    for image, predicted in zip(batch, predict_batch(runtime, batch), strict=True):
        predicted = replace(predicted, probabilities=writer.calibrate(predicted.probabilities))
        drawn = draw(image.file, predicted)
        outcome.num_warned += bool(writer.warning(predicted.score))
        writer.write(image, predicted.probabilities, predicted.score, drawn)
