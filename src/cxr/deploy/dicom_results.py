"""cxr predict --dicom-out: a report and overlays of each image, and a report of each study, as DICOM."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cxr import __version__
from cxr.console import count, say
from cxr.deploy.overlays import CannotDrawError, Drawing, draw_chosen
from cxr.deploy.predict_output import describe_warning
from cxr.deploy.runtime import Facts, Predicted, Square
from cxr.deploy.studies import Rule
from cxr.errors import CxrError
from cxr.evaluation.recalibration import Recalibration
from cxr.files import clear_leftovers, explain_os_errors
from cxr.paths import exists, is_folder
from cxr.streams import complain

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
    """Writes the results of one image after the other, and at the end the reports of studies.

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
        from cxr.deploy.dicom_out.study_reports import StudyReports
        from cxr.deploy.dicom_out.writer import ResultWriter

        self.folder = folder
        self._facts, self._drawing, self._fail = facts, drawing, fail
        model = Model(facts, __version__, _list_calibrated(recalibration))
        self._writer = ResultWriter(folder, model)
        rule = Rule(facts.unit, facts.combine, facts.views)
        self._studies = StudyReports(self._writer, model, rule)
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
        except CannotInheritError as error:
            self._fail(image.file, error.reason)
            return []
        try:
            overlays = draw_chosen(self._facts, image.file, predicted, self._drawing)
        except CannotDrawError as error:
            self._fail(image.file, error.reason)
            self._studies.leave_out(image.file, source, f"no DICOM results: {error.reason}")
            return []
        result = Result(
            probabilities=tuple(predicted.probabilities),
            score=predicted.score,
            warning=describe_warning(predicted.score, self._facts.measured),
            notes=tuple(image.notes),
            overlays=overlays,
        )
        files = self._writer.write(image.file, source, result)
        self._studies.add(image.file, source, result)
        self._num_overlays += len(files) - 1
        self._num_reports += 1
        return files

    def leave_out(self, file: Path, reason: str) -> None:
        """Remember an image that was not read, where its header says its study."""
        from cxr.deploy.dicom_out.source import CannotInheritError, read_source

        with suppress(CannotInheritError, OSError):
            if file.is_file():  # opening a pipe might never end
                self._studies.leave_out(file, read_source(file), f"not read: {reason}")

    def finish(self, num_earlier: int = 0) -> None:
        """Write the reports of studies, and say what was written.

        Args:
            num_earlier: Images of an interrupted call that this one continues.

        Raises:
            CxrError: A file cannot be written.
        """
        num_studies = self._studies.write(is_resumed=num_earlier > 0)
        if num_earlier:
            earlier = count(num_earlier, "image")
            complain(
                f"note: study reports cover the images of this call, without {earlier} of an earlier one"
            )
        if self._num_reports:
            written = [count(self._num_reports, "report")]
            written += [count(num_studies, "study report")] * (num_studies > 0)
            overlays = count(self._num_overlays, "overlay")
            what = f"{', '.join(written)} and {overlays} as DICOM in {self.folder}"
            say(f"{what}; research use only, not for diagnosis")


def _list_calibrated(recalibration: Recalibration | None) -> frozenset[str]:
    if recalibration is None:
        return frozenset()
    pairs = zip(recalibration.findings, recalibration.is_fitted, strict=True)
    return frozenset(finding for finding, is_fitted in pairs if is_fitted)
