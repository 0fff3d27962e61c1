"""Writes results into a folder: reports of images, the overlays that are drawn, and reports of studies."""

import re
from itertools import count
from pathlib import Path

from cxr.deploy.dicom_out.capture import make_capture
from cxr.deploy.dicom_out.encode import encode
from cxr.deploy.dicom_out.report import Content, describe_image, make_report
from cxr.deploy.dicom_out.result import Model, Result
from cxr.deploy.dicom_out.series import CAPTURE, REPORT, SeriesBook
from cxr.deploy.dicom_out.source import Source
from cxr.deploy.overlay_names import clean_name
from cxr.explain.lettering import Colour
from cxr.files import write_new_bytes

_STUDY_REPORT = "study_report"


class ResultWriter:
    """Writes results of one model; those of one study share two series.

    Args:
        folder: Where to; no file in it is ever replaced.
        model: Whose results they are.
    """

    def __init__(self, folder: Path, model: Model) -> None:
        self._folder, self._model, self._book = folder, model, SeriesBook()

    def write(self, file: Path, source: Source, result: Result) -> list[Path]:
        """The files: the overlays in their order, then the report.

        Raises:
            CxrError: A file cannot be written.
        """
        # all are made before the first is written; the report comes last, so that it stands for all of them
        encoded = [
            (finding, self._encode_capture(finding, overlay, source))
            for finding, overlay in result.overlays.items()
        ]
        place = self._book.next_place(source.study_key, REPORT)
        content = describe_image(self._model, result, source)
        report = encode(make_report(self._model, content, place), source)
        return [self._write(file, name, data) for name, data in [*encoded, (REPORT, report)]]

    def write_study(self, first_file: Path, source: Source, content: Content) -> Path:
        """The file of the report of a study, in the series of the reports of its images.

        Args:
            first_file: The first image of the study, after which the file is named.
            source: What is inherited, from that image.
            content: What the report says.

        Raises:
            CxrError: The file cannot be written.
        """
        place = self._book.next_place(source.study_key, REPORT)
        report = encode(make_report(self._model, content, place), source)
        return self._write(first_file, _STUDY_REPORT, report)

    def _encode_capture(self, finding: str, overlay: Colour, source: Source) -> bytes:
        place = self._book.next_place(source.study_key, CAPTURE)
        return encode(make_capture(self._model, finding, overlay, source, place), source)

    def _write(self, file: Path, name: str, data: bytes) -> Path:
        """Write `<image>_<name>.dcm`, numbered where there is such a file already."""
        part = clean_name(re.sub(r"\s+", "_", name))
        stem = f"{clean_name(file.stem)}_{part}"
        for number in count(1):
            path = self._folder / f"{stem}{f'-{number}' if number > 1 else ''}.dcm"
            if write_new_bytes(path, data):
                return path
        raise AssertionError("counting never ends")
