"""cxr predict --dicom-out: a report and overlays of each image as DICOM objects beside its study."""

from collections.abc import Callable
from pathlib import Path

from cxr import __version__
from cxr.console import count, say
from cxr.deploy.overlays import CannotDrawError, Drawing, draw_chosen
from cxr.deploy.predict_output import describe_warning
from cxr.deploy.runtime import Facts, Predicted, Square
from cxr.errors import CxrError
from cxr.evaluation.recalibration import Recalibration
from cxr.files import clear_leftovers, explain_os_errors
from cxr.paths import exists, is_folder

OPTION = "--dicom-out"

Fail = Callable[[Path, str], None]
"""Is told of an image without results, and why."""


def check_folder(folder: Path | None) -> None:
    """Refuse what cannot be a folder of DICOM results, before a model is opened.

    Raises:
        CxrError: It is a file, or highdicom is not installed.
    """
    if folder is None:
        return
    if exists(folder) and not is_folder(folder):
        raise CxrError(f"{OPTION} {folder}: is a file", "name a folder for the DICOM results")
    try:
        import highdicom  # noqa: F401 - an optional package, which takes a second to import
    except ImportError:
        raise CxrError(f"{OPTION}: needs highdicom", "pip install 'cxr[dicom-out]'") from None


def open_results(
    folder: Path | None, facts: Facts, drawing: Drawing, recalibration: Recalibration | None, fail: Fail
) -> "DicomResults | None":
    """What writes the results, as `DicomResults`; None without a folder.

    Raises:
        CxrError: The folder cannot be made.
    """
    if folder is None:
        return None
    with explain_os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    clear_leftovers(folder)
    return DicomResults(folder, facts, drawing, recalibration, fail)


class DicomResults:
    """Writes the results of one image after the other.

    Args:
        folder: Where to.
        facts: Of the model; with a recalibration its thresholds are calibrated already.
        drawing: Which findings are drawn.
        recalibration: How probabilities are calibrated; None leaves them as they are.
        fail: Is told of each image without results.
    """

    def __init__(
        self, folder: Path, facts: Facts, drawing: Drawing, recalibration: Recalibration | None, fail: Fail
    ) -> None:
        from cxr.deploy.dicom_out.result import Model
        from cxr.deploy.dicom_out.writer import ResultWriter

        self.folder = folder
        self._facts, self._drawing, self._fail = facts, drawing, fail
        self._writer = ResultWriter(folder, Model(facts, __version__, _list_calibrated(recalibration)))
        self._num_reports = self._num_overlays = 0

    def write(self, image: Square, predicted: Predicted) -> list[Path]:
        """Write the overlays and the report of an image; tells where it cannot have them.

        Raises:
            CxrError: A file cannot be written.
        """
        from cxr.deploy.dicom_out.result import Result
        from cxr.deploy.dicom_out.source import CannotInheritError, read_source

        try:
            source = read_source(image.file)
            overlays = draw_chosen(self._facts, image.file, predicted, self._drawing)
        except (CannotInheritError, CannotDrawError) as error:
            self._fail(image.file, error.reason)
            return []
        result = Result(
            probabilities=tuple(predicted.probabilities),
            score=predicted.score,
            warning=describe_warning(predicted.score, self._facts.measured),
            notes=tuple(image.notes),
            overlays=overlays,
        )
        files = self._writer.write(image.file, source, result)
        self._num_overlays += len(files) - 1
        self._num_reports += 1
        return files

    def finish(self) -> None:
        """Say what was written."""
        if self._num_reports:
            reports, overlays = count(self._num_reports, "report"), count(self._num_overlays, "overlay")
            say(f"{reports} and {overlays} as DICOM in {self.folder}; research use only, not for diagnosis")


def _list_calibrated(recalibration: Recalibration | None) -> frozenset[str]:
    if recalibration is None:
        return frozenset()
    pairs = zip(recalibration.findings, recalibration.is_fitted, strict=True)
    return frozenset(finding for finding, is_fitted in pairs if is_fitted)
