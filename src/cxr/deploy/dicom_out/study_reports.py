"""Remembers the images of a call by study, and writes a report of each study of two or more at its end."""

from array import array
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from cxr.deploy.dicom_out.result import Model, Result
from cxr.deploy.dicom_out.source import CannotInheritError, Source, read_source
from cxr.deploy.dicom_out.study import Member, combine_members, describe_study, list_distinct
from cxr.deploy.dicom_out.writer import ResultWriter
from cxr.deploy.studies import Rule
from cxr.images.dicom.header import read_header
from cxr.streams import complain

_MAX_NAMED = 20


class StudyReports:
    """The images of a call by StudyInstanceUID.

    Args:
        writer: Of the reports of their images.
        model: Whose results they are.
        rule: How the images of a study are combined.
    """

    def __init__(self, writer: ResultWriter, model: Model, rule: Rule) -> None:
        self._writer, self._model, self._rule = writer, model, rule
        self._members: dict[str, list[Member]] = defaultdict(list)

    def add(self, file: Path, source: Source, result: Result) -> None:
        """Remember an image with results."""
        is_measured = result.score is not None and self._model.facts.measured is not None
        member = Member(
            file=file,
            reference=source.reference,
            patient=source.study_key,
            view=read_header(file).view,
            probabilities=array("d", result.probabilities),  # 8 bytes each
            has_warning=bool(result.warning) if is_measured else None,
        )
        self._members[member.reference.study].append(member)

    def leave_out(self, file: Path, source: Source, reason: str) -> None:
        """Remember an image without results, which the report of its study names."""
        member = Member(file, source.reference, source.study_key, reason=reason)
        self._members[member.reference.study].append(member)

    def write(self, is_resumed: bool) -> int:
        """Write the reports; the number of them. A note says which study of two or more images has none.

        Args:
            is_resumed: Whether the call continues another, whose images are not known here.

        Raises:
            CxrError: A file cannot be written.
        """
        studies = [members for members in self._members.values() if len(list_distinct(members)) > 1]
        return sum(self._write(members, is_resumed) for members in studies)

    def _write(self, members: Sequence[Member], is_resumed: bool) -> bool:
        if len({member.patient for member in members}) > 1:
            reason = "they have one StudyInstanceUID and different patients (PatientID, IssuerOfPatientID)"
            return _note(members, reason)
        study = combine_members(members, self._rule)
        if not study.probabilities:
            return _note(members, "the model was trained on none of their views")
        first = list_distinct(members)[0]
        try:
            source = read_source(first.file)  # again, since headers of thousands of images take much memory
        except CannotInheritError as error:
            return _note(members, f"of the first, {error.reason}")
        if (source.reference, source.study_key) != (first.reference, first.patient):
            return _note(members, "the first has changed since it was read")
        content = describe_study(self._model, study, self._rule, is_resumed)
        self._writer.write_study(first.file, source, content)
        return True


def _note(members: Sequence[Member], reason: str) -> bool:
    """Say which images have no report of their study, and why; False, for none was written."""
    names = [str(member.file) for member in members[:_MAX_NAMED]]
    more = ["..."] if len(members) > _MAX_NAMED else []
    complain(f"note: no study report of {', '.join(names + more)}: {reason}")
    return False
