"""Files and folders -> rows of probabilities, one batch after the other (no torch)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxr.console import count
from cxr.deploy.dicom_results import DicomResults
from cxr.deploy.journal import Journal
from cxr.deploy.overlay_names import OverlayNames
from cxr.deploy.overlays import CannotDrawError, Drawing, draw_overlays
from cxr.deploy.predict_files import Input, find_inputs, try_to_read
from cxr.deploy.predict_output import Drawn, Overlays, Writer
from cxr.deploy.runtime import BATCH_SIZE, Facts, Predicted, Runtime, Square, predict_batch
from cxr.errors import CxrError, NoImageError, UnavailableFileError, UnreadableImageError
from cxr.parallel import map_ahead
from cxr.streams import complain

_NUM_NAMED = 20
_SKIPPED = {
    "other": ("file", "without an image"),
    "again": ("file", "found before under another name"),
    "above": ("link", "to a folder that holds this one"),
    "overlay": ("overlay", "that cxr drew"),
    "folder": ("folder", "for overlays or DICOM results"),
}
"""Words for files that are passed over, by the reason that `find_inputs` gives."""
_COUNTS = ("num_images", "num_failed", "num_undrawn", "num_unwritten", "num_incomplete", "num_warned")


@dataclass
class Outcome:
    """What became of the files: counts, and what is left to say at the end.

    Attributes:
        num_images: That were found.
        num_failed: That were not read.
        num_undrawn: That have probabilities and no overlay.
        num_unwritten: That have probabilities and no DICOM results.
        num_incomplete: That lack one of the two or both.
        num_warned: That are out of distribution.
        skipped: Files that are passed over, by the reason.
        hints: What to do.
    """

    num_images: int = 0
    num_failed: int = 0
    num_undrawn: int = 0
    num_unwritten: int = 0
    num_incomplete: int = 0
    num_warned: int = 0
    skipped: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    hints: dict[str, None] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The counts by name, for a journal."""
        return {name: getattr(self, name) for name in _COUNTS}

    def restore(self, counts: Mapping[str, int]) -> None:
        """Count what an interrupted run did before."""
        for name in _COUNTS:
            setattr(self, name, counts.get(name, 0))

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

    def fail_to_write(self, file: Path, reason: str) -> None:
        """Count an image that has its probabilities and no DICOM results, and say why."""
        self.num_unwritten += 1
        complain(f"error: {file}: no DICOM results: {reason}")

    def finish(self) -> None:
        """Say how many images were not read, and what was passed over."""
        for reason, (name, words) in _SKIPPED.items():
            files = self.skipped[reason]
            if files:
                more = ", ..." if len(files) > _NUM_NAMED else ""
                names = ", ".join(map(str, files[:_NUM_NAMED])) + more
                complain(f"passed over: {count(len(files), name)} {words}: {names}")
        for num, what in ((self.num_undrawn, "an overlay"), (self.num_unwritten, "DICOM results")):
            if num:
                images = f"{count(num, 'image')} without {what}"
                complain(f"hint: {images}, for the reasons above; the probabilities are valid")
        if self.num_failed:
            hint = "; ".join(self.hints) or "cxr reads PNG, JPEG, TIFF and DICOM"
            images = f"{self.num_failed:,} of {count(self.num_images, 'image')}"
            complain(f"hint: {images} not read, for the reasons above; {hint}")


@dataclass(frozen=True)
class Draw:
    """Writes an image's overlays and DICOM results; where it cannot, the outcome counts it."""

    facts: Facts
    names: OverlayNames
    drawing: Drawing
    outcome: Outcome
    results: DicomResults | None = None

    @property
    def folders(self) -> tuple[Path | None, ...]:
        """Where files are written to, which is no place to look for images."""
        return self.names.folder, self.results.folder if self.results else None

    def __call__(self, image: Square, predicted: Predicted) -> Drawn:
        """The files; none without a folder."""
        outcome = self.outcome
        num_before = outcome.num_undrawn + outcome.num_unwritten
        overlays, sheet = self._draw(image.file, predicted)
        results = self.results.write(image, predicted) if self.results else []
        outcome.num_incomplete += outcome.num_undrawn + outcome.num_unwritten > num_before
        return Drawn(overlays, sheet, results)

    def _draw(self, file: Path, predicted: Predicted) -> tuple[Overlays, Path | None]:
        if self.names.folder is None:
            return {}, None
        try:
            return draw_overlays(self.facts, file, predicted, self.names, self.drawing)
        except CannotDrawError as error:
            self.outcome.fail_to_draw(file, error.reason)
            return {}, None


def predict_all(
    runtime: Runtime, images: Sequence[Path], writer: Writer, draw: Draw, journal: Journal | None = None
) -> None:
    """Predict the images in the order found; threads read ahead, batches are predicted and written.

    What is in memory are the squares of a batch, and a few images that are read ahead. Images that the
    journal has already are passed over.
    """
    preprocess = runtime.facts.preprocess  # of the training, so that the model sees images alike
    outcome = draw.outcome
    done = journal.done if journal else frozenset[str]()
    num_earlier = len(done)
    batch: list[Square] = []
    names: list[Path] = []  # of the batch, and of images among them that cannot be read

    def write_batch() -> None:
        if batch:
            _predict_and_write(runtime, batch, writer, draw)
        if names and journal:
            journal.keep(names, outcome.counts)
        batch.clear()
        names.clear()

    inputs = (found for found in find_inputs(images, *draw.folders) if str(found.path) not in done)
    for found, result in map_ahead(lambda found: (found, try_to_read(found, preprocess)), inputs):
        if isinstance(result, Square):
            outcome.num_images += 1
            batch.append(result)
            names.append(found.path)
        elif _fail_or_skip(found, result, writer, draw):
            names.append(found.path)
        if len(batch) == BATCH_SIZE:
            write_batch()
    write_batch()
    writer.finish()
    if draw.results is not None:
        draw.results.finish(num_earlier)


def _fail_or_skip(found: Input, error: CxrError | None, writer: Writer, draw: Draw) -> bool:
    """Count a file that gave no image; whether it could have been one, and it is said why it is none."""
    outcome = draw.outcome
    if error is None:
        outcome.skipped[found.kind].append(found.path)
    elif isinstance(error, NoImageError) and not found.is_named:
        # such as the index of a CD, or a report among the images of a folder
        outcome.skipped["other"].append(found.path)
    else:
        outcome.num_images += 1
        outcome.fail(error)
        reason = error.problems[0]
        if isinstance(error, UnreadableImageError | UnavailableFileError):
            reason = error.reason  # without the path, which stands beside it
        writer.fail(found.path, reason)
        if draw.results is not None and not isinstance(error, NoImageError):
            draw.results.leave_out(found.path, reason)
        return True
    return False


def _predict_and_write(runtime: Runtime, batch: Sequence[Square], writer: Writer, draw: Draw) -> None:
    for image, predicted in zip(batch, predict_batch(runtime, batch), strict=True):
        predicted = replace(predicted, probabilities=writer.calibrate(predicted.probabilities))
        drawn = draw(image, predicted)
        draw.outcome.num_warned += bool(writer.warning(predicted.score))
        writer.write(image, predicted.probabilities, predicted.score, drawn)
